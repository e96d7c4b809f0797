<?php

declare(strict_types=1);

/**
 * Laravel middleware around Guard.php: checks each request of somebody who is signed in. Copy both into app/Http, and
 * name this one in the "web" group after StartSession (bootstrap/app.php, or app/Http/Kernel.php before Laravel 11).
 */

namespace Scim;

use Closure;
use Illuminate\Contracts\Auth\Factory;
use Illuminate\Contracts\Auth\StatefulGuard;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

final class GuardRequests
{
    /** Where the login keeps what `begin` returned. */
    public const EPOCH = 'scim_epoch';

    /** @param null|callable(mixed): string $subjectOf the subject of a user; their primary key by default */
    public function __construct(
        private readonly Guard $guard,
        private readonly Factory $auth,
        private $subjectOf = null,
    ) {
    }

    public function handle(Request $request, Closure $next): Response
    {
        $login = $this->auth->guard();
        $user = $login->user(); // a remember-me cookie signs in here, with a session that has no epoch
        if ($user === null) {
            return $next($request);
        }
        $subject = $this->subjectOf ? ($this->subjectOf)($user) : (string) $user->getAuthIdentifier();
        if ($this->guard->check($subject, $request->session()->get(self::EPOCH))) {
            return $next($request);
        }
        if ($login instanceof StatefulGuard) {
            $login->logout(); // the remember-me token with it
        }
        $request->session()->invalidate();
        $request->session()->regenerateToken();
        return $request->expectsJson()
            ? new Response('{"message":"This session has ended."}', 401, ['Content-Type' => 'application/json'])
            : new Response('', 302, ['Location' => '/login']);
    }
}
