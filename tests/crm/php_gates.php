<?php

// Asks the guard over every client it is meant for. Arguments: client, address. Reads one question per line,
// ["open"|"closed", "begin"|"check", subject, epoch], and prints the answers.

declare(strict_types=1);

require __DIR__ . '/../../examples/guards/php/Guard.php';
require '/usr/share/php/Predis/Autoloader.php';

[, $client, $address] = $argv;

function phpredis(string $address): Redis
{
    $redis = new Redis();
    $redis->connect(parse_url($address, PHP_URL_HOST), parse_url($address, PHP_URL_PORT), 0.5);
    return $redis;
}

Predis\Autoloader::register();
$gates = match ($client) {
    'phpredis' => new Scim\RedisGates(phpredis($address), 'acme'),
    'predis' => new Scim\RedisGates(new Predis\Client($address), 'acme'),
    'pdo' => new Scim\SqlGates(new PDO(...explode(' ', $address)), 'acme'),
};
$guards = ['open' => new Scim\Guard($gates), 'closed' => new Scim\Guard($gates, failClosed: true)];
while (($line = fgets(STDIN)) !== false) {
    [$policy, $question, $subject, $epoch] = [...json_decode($line), null];
    $answer = $question === 'begin' ? $guards[$policy]->begin($subject) : $guards[$policy]->$question($subject, $epoch);
    echo json_encode($answer), "\n";
}
