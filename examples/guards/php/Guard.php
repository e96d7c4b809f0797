<?php

declare(strict_types=1);

/**
 * The CRM's half of a cut, for PHP 8.1 and later. One file without dependencies: copy it into the CRM.
 *
 * It reads the gate that the SCIM server writes and says whether a session may go on; it ends nothing itself. A gate is
 * one text per subject (the key under which the CRM files a person's sessions): "<epoch>:<denied 0|1>:<not_before_ms>".
 * The server writes it before it deletes sessions; so a CRM that looks again *after* creating a session cannot miss a
 * deactivation, however the two interleave.
 */

namespace Scim;

/** A subject's standing. `epoch` only ever grows; `denied` ends all sessions; `notBefore` is unix ms. */
final class Gate
{
    public function __construct(
        public readonly int $epoch = 0,
        public readonly bool $denied = false,
        public readonly int $notBefore = 0,
    ) {
    }

    /** Null is open: never deactivated. Throws for anything that is not a marker. */
    public static function parse(?string $marker): self
    {
        if ($marker === null) {
            return new self();
        }
        if (!preg_match('/\A([0-9]{1,16}):([01]):([0-9]{1,16})\z/', $marker, $found)) {
            throw new \UnexpectedValueException('a gate marker reads <epoch>:<denied 0|1>:<not_before_ms>');
        }
        return new self((int) $found[1], $found[2] === '1', (int) $found[3]);
    }

    /**
     * Whether a session may go on. `$epoch` is what `begin` returned at its login. Where none was kept (a JWT),
     * `$startedMs` decides (`iat * 1000`). A session that knows neither is taken to be older than any gate.
     */
    public function allows(?int $epoch = null, ?int $startedMs = null): bool
    {
        if ($this->denied) {
            return false;
        }
        if ($epoch !== null) { // never mixed with the time: two machines' clocks need not agree
            return $epoch >= $this->epoch;
        }
        if ($startedMs !== null) {
            return $startedMs > $this->notBefore;
        }
        return $this->epoch === 0;
    }
}

/** Where gates are kept. Both methods may throw. */
interface Gates
{
    /** @return array{?string, ?int} the subject's marker, and when a guard last left its sign of life (unix ms) */
    public function read(string $subject): array;

    /** Leave the sign of life. */
    public function beat(int $nowMs): void;
}

/**
 * The three calls of a login:
 *
 *     $epoch = $guard->begin($subject);            // once the subject is known, before the password is checked
 *     $sid = $sessions->create($subject, $epoch);  // stored and committed; the session keeps the epoch
 *     if (!$guard->confirm($subject, $epoch)) {    // deactivated meanwhile
 *         $sessions->delete($sid);                 // and refuse
 *     }
 *
 * While gates cannot be read (a broken marker included) the CRM works on, unless `$failClosed`. Give the store's client
 * a short timeout: the guard has none of its own. PHP forgets everything between two requests, so the age of the last
 * sign of life is read together with the gate, and a new one is left when it is older than `$beatEveryMs`.
 */
final class Guard
{
    /** @param null|callable(string): void $log takes one line when gates cannot be read; error_log by default */
    public function __construct(
        private readonly Gates $gates,
        private readonly bool $failClosed = false,
        private readonly int $beatEveryMs = 10_000,
        private $log = null,
    ) {
    }

    /** The epoch to keep in the session that this login may create. */
    public function begin(string $subject): int
    {
        return $this->gate($subject)->epoch;
    }

    /** Call after the session is created. False: delete it and refuse the login. */
    public function confirm(string $subject, int $epoch): bool
    {
        return $this->gate($subject)->allows($epoch);
    }

    /** Call on each request. False: the session is over, even if its record is still (or again) there. */
    public function check(string $subject, ?int $epoch = null, ?int $startedMs = null): bool
    {
        return $this->gate($subject)->allows($epoch, $startedMs);
    }

    private function gate(string $subject): Gate
    {
        $gate = new Gate(denied: $this->failClosed);
        try {
            [$marker, $seenMs] = $this->gates->read($subject);
            $gate = Gate::parse($marker);
            $nowMs = (int) (microtime(true) * 1000);
            if ($nowMs - ($seenMs ?? 0) >= $this->beatEveryMs) {
                $this->gates->beat($nowMs);
            }
        } catch (\Exception $problem) {
            $standing = $gate->denied ? 'denied' : 'open';
            ($this->log ?? error_log(...))("scim guard: gate store fails ({$problem->getMessage()}); taken as $standing");
        }
        return $gate;
    }
}

/**
 * Gates in Redis. `$client` is a connected \Redis (phpredis) or \Predis\Client; `$gateKey` is the session store's
 * template of the same name, filled with what the CRM calls the subject. Literal braces are doubled.
 */
final class RedisGates implements Gates
{
    public function __construct(
        private readonly object $client,
        private readonly string $tenant = 'default',
        private readonly string $gateKey = 'scim:gate:{tenant}:{subject}',
        private readonly string $guardKey = 'scim:guard:{tenant}',
    ) {
    }

    public function read(string $subject): array
    {
        $keys = [self::fill($this->gateKey, $this->tenant, $subject), self::fill($this->guardKey, $this->tenant)];
        $found = $this->client->mget($keys);
        if (!is_array($found)) { // phpredis does not throw for every error
            throw new \UnexpectedValueException('Redis gave no answer');
        }
        [$marker, $seen] = $found; // of a key that is not there, phpredis says false and Predis null
        return [is_string($marker) ? $marker : null, is_numeric($seen) ? (int) $seen : null];
    }

    public function beat(int $nowMs): void
    {
        $this->client->set(self::fill($this->guardKey, $this->tenant), (string) $nowMs);
    }

    public static function fill(string $template, string $tenant, string $subject = ''): string
    {
        return strtr($template, ['{{' => '{', '}}' => '}', '{tenant}' => $tenant, '{subject}' => $subject]);
    }
}

/**
 * Gates in two tables that any SQL database takes (TABLES); the server writes the first, the guard the second.
 * `$database` throws exceptions (the default since PHP 8) and is not inside a transaction, whose snapshot would show
 * yesterday's gate.
 */
final class SqlGates implements Gates
{
    public const TABLES = [
        'CREATE TABLE IF NOT EXISTS scim_gate (subject VARCHAR(320) PRIMARY KEY,'
        . ' epoch BIGINT NOT NULL, denied SMALLINT NOT NULL, not_before BIGINT NOT NULL)',
        'CREATE TABLE IF NOT EXISTS scim_guard (name VARCHAR(255) PRIMARY KEY, seen_ms BIGINT NOT NULL)',
    ];

    public function __construct(private readonly \PDO $database, private readonly string $tenant = 'default')
    {
    }

    public function read(string $subject): array
    {
        [$gate] = $this->run('SELECT epoch, denied, not_before FROM scim_gate WHERE subject = ?', $subject);
        [$guard] = $this->run('SELECT seen_ms FROM scim_guard WHERE name = ?', $this->tenant);
        $marker = $gate === null ? null : sprintf('%d:%d:%d', ...$gate);
        return [$marker, $guard === null ? null : (int) $guard[0]];
    }

    public function beat(int $nowMs): void
    {
        if ($this->run('UPDATE scim_guard SET seen_ms = ? WHERE name = ?', $nowMs, $this->tenant)[1] === 0) {
            $this->run('INSERT INTO scim_guard (seen_ms, name) VALUES (?, ?)', $nowMs, $this->tenant);
        }
    }

    /** @return array{?list<mixed>, int} the first row, if there is one, and the number of rows changed */
    private function run(string $sql, string|int ...$values): array
    {
        $statement = $this->database->prepare($sql);
        $statement->execute($values);
        $row = $statement->columnCount() ? $statement->fetch(\PDO::FETCH_NUM) : false;
        $statement->closeCursor();
        return [$row === false ? null : $row, $statement->rowCount()];
    }
}
