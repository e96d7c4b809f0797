<?php

// Laravel's own auth, session and request classes around the middleware, without an application skeleton. Argument: a
// SQLite file. Reads one step per line and prints [status, subject, sessions in the table, remember tokens].

declare(strict_types=1);

require '/usr/share/php/Illuminate/autoload.php';
require __DIR__ . '/../../examples/guards/php/Guard.php';
require __DIR__ . '/../../examples/guards/php/GuardRequests.php';

use Illuminate\Auth\AuthManager;
use Illuminate\Auth\DatabaseUserProvider;
use Illuminate\Auth\SessionGuard;
use Illuminate\Container\Container;
use Illuminate\Cookie\CookieJar;
use Illuminate\Database\Capsule\Manager as Database;
use Illuminate\Hashing\BcryptHasher;
use Illuminate\Http\Request;
use Illuminate\Session\DatabaseSessionHandler;
use Illuminate\Session\Store;
use Symfony\Component\HttpFoundation\Response;

$database = new Database();
$database->addConnection(['driver' => 'sqlite', 'database' => $argv[1]]);
$pdo = $database->getConnection()->getPdo();
$guard = new Scim\Guard(new Scim\SqlGates($pdo));

/** One request in a fresh process, as PHP has it: only the session's id comes with it. */
$handle = function (?string $sid, callable $action, bool $json = true) use ($database, $guard, $pdo): array {
    $container = new Container();
    $auth = new AuthManager($container);
    $container->instance(Illuminate\Contracts\Auth\Guard::class, null);
    $handler = new DatabaseSessionHandler($database->getConnection(), 'sessions', 120, $container);
    $session = new Store('laravel_session', $handler, $sid);
    $session->start();
    $request = Request::create('/', server: $json ? ['HTTP_ACCEPT' => 'application/json'] : []);
    $request->setLaravelSession($session);
    $users = new DatabaseUserProvider($database->getConnection(), new BcryptHasher(), 'users');
    $login = new SessionGuard('web', $users, $session, $request);
    $login->setCookieJar(new CookieJar());
    $container->instance(Illuminate\Contracts\Auth\Guard::class, $login);
    $container->instance('request', $request);
    $container->instance('config', ['auth.defaults.guard' => 'web', 'auth.guards.web' => ['driver' => 'ready']]);
    $auth->extend('ready', fn () => $login);
    $response = (new Scim\GuardRequests($guard, $auth))->handle($request, fn () => $action($login, $session));
    $session->save();
    $count = fn (string $sql): int => (int) $pdo->query($sql)->fetchColumn();
    return [
        $response->getStatusCode(),
        $session->getId(),
        $count('SELECT count(*) FROM sessions WHERE user_id IS NOT NULL'),
        $count("SELECT count(*) FROM users WHERE remember_token <> ''"),
    ];
};

$steps = [
    // What a login controller does: the lines of README.md.
    'login' => fn () => function (SessionGuard $login, Store $session) use ($guard): Response {
        $subject = '42';
        $epoch = $guard->begin($subject);
        if (!$login->attempt(['email' => 'ann@crm.example', 'password' => 'secret'], true)) {
            return new Response('', 401);
        }
        $session->put(Scim\GuardRequests::EPOCH, $epoch);
        $session->save();
        if (!$guard->confirm($subject, $epoch)) {
            $login->logout();
            $session->invalidate();
            return new Response('', 403);
        }
        return new Response('', 200);
    },
    'visit' => fn () => fn (SessionGuard $login): Response => new Response('', $login->check() ? 200 : 401),
];

while (($line = fgets(STDIN)) !== false) {
    [$step, $sid, $json] = [...json_decode($line), true];
    echo json_encode($handle($sid, $steps[$step](), $json)), "\n";
}
