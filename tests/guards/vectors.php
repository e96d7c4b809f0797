<?php

// Reads vectors line by line (see test_vectors.py) and prints what the PHP guard makes of each.

declare(strict_types=1);

require __DIR__ . '/../../examples/guards/php/Guard.php';

use Scim\Gate;
use Scim\Gates;
use Scim\Guard;
use Scim\RedisGates;

final class Stored implements Gates
{
    public function __construct(private array $answers)
    {
    }

    public function read(string $subject): array
    {
        $answer = array_shift($this->answers);
        return $answer === 'down' ? throw new RuntimeException('down') : [$answer, null];
    }

    public function beat(int $nowMs): void
    {
    }
}

$answers = [
    'decide' => function (array $vector): string {
        try {
            $gate = Gate::parse($vector['marker']);
        } catch (UnexpectedValueException) {
            return 'invalid';
        }
        return $gate->allows($vector['epoch'], $vector['started_ms']) ? 'true' : 'false';
    },
    'login' => function (array $vector): string {
        $stored = new Stored([$vector['begin'], $vector['confirm']]);
        $guard = new Guard($stored, failClosed: $vector['fail_closed'], log: function (string $line): void {
        });
        $epoch = $guard->begin('s');
        return $epoch . ' ' . ($guard->confirm('s', $epoch) ? 'true' : 'false');
    },
    'key' => fn (array $vector): string => RedisGates::fill($vector['template'], $vector['tenant'], $vector['subject']),
];

while (($line = fgets(STDIN)) !== false) {
    [$kind, $vector] = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    echo json_encode($answers[$kind]($vector), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE), "\n";
}
