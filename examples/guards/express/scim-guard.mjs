// The CRM's half of a cut, for Node 18 and later. One file without dependencies: copy it into the CRM.
//
// It reads the gate that the SCIM server writes and says whether a session may go on; it ends nothing itself. A gate
// is one text per subject (the key under which the CRM files a person's sessions): "<epoch>:<denied 0|1>:<not_before_ms>".
// The server writes it before it deletes sessions; so a CRM that looks again *after* creating a session cannot miss a
// deactivation, however the two interleave.

/** For gates in SQL: the server writes the first table, the guard's heartbeat the second. */
export const TABLES = [
  `CREATE TABLE IF NOT EXISTS scim_gate (subject VARCHAR(320) PRIMARY KEY,
     epoch BIGINT NOT NULL, denied SMALLINT NOT NULL, not_before BIGINT NOT NULL)`,
  "CREATE TABLE IF NOT EXISTS scim_guard (name VARCHAR(255) PRIMARY KEY, seen_ms BIGINT NOT NULL)",
];

// --- the decision ---------------------------------------------------------------------------------------------

/** A subject that was never deactivated. */
export const OPEN = Object.freeze({ epoch: 0, denied: false, notBefore: 0 });
const SHUT = Object.freeze({ epoch: 0, denied: true, notBefore: 0 });
const MARKER = /^([0-9]{1,16}):([01]):([0-9]{1,16})$/;

/** The gate of a stored marker; null is OPEN. Throws for anything that is not a marker. */
export function parseGate(marker) {
  if (marker === null || marker === undefined) return OPEN;
  const found = MARKER.exec(marker);
  const gate = found && { epoch: Number(found[1]), denied: found[2] === "1", notBefore: Number(found[3]) };
  if (!gate || !Number.isSafeInteger(gate.epoch) || !Number.isSafeInteger(gate.notBefore)) {
    throw new Error("a gate marker reads <epoch>:<denied 0|1>:<not_before_ms>");
  }
  return gate;
}

/**
 * Whether a session may go on. `epoch` is what `begin` returned at its login. Where none was kept (a JWT),
 * `startedMs` decides (`iat * 1000`). A session that knows neither is taken to be older than any gate.
 */
export function allows(gate, epoch, startedMs) {
  if (gate.denied) return false;
  // Never mixed with the time: two machines' clocks need not agree.
  if (epoch !== null && epoch !== undefined) return epoch >= gate.epoch;
  if (startedMs !== null && startedMs !== undefined) return startedMs > gate.notBefore;
  return gate.epoch === 0;
}

// --- the guard ------------------------------------------------------------------------------------------------

/**
 * The three calls of a login:
 *
 *     const epoch = await guard.begin(subject);          // once the subject is known, before the password is checked
 *     const sid = await sessions.create(subject, epoch); // stored and indexed; the session keeps the epoch
 *     if (!(await guard.confirm(subject, epoch))) {      // deactivated meanwhile
 *       await sessions.destroy(sid);                     // and refuse
 *     }
 *
 * `gates` is redisGates(…) or sqlGates(…). While they cannot be read (a broken marker included) the CRM works on,
 * unless `failClosed`. Give the store's client a short timeout: the guard has none of its own. A sign of life is left
 * for the server at most every `beatEveryMs`, and only after a gate was read.
 */
export class Guard {
  #gates;
  #beatEveryMs;
  #nextBeat = 0;
  #unread;
  #failing = false;
  #log;

  constructor(gates, { failClosed = false, beatEveryMs = 10_000, log = console.warn } = {}) {
    this.#gates = gates;
    this.#beatEveryMs = beatEveryMs;
    this.#unread = failClosed ? SHUT : OPEN;
    this.#log = log;
  }

  /** The epoch to keep in the session that this login may create. */
  async begin(subject) {
    return (await this.#gate(subject)).epoch;
  }

  /** Call after the session is created. False: delete it and refuse the login. */
  async confirm(subject, epoch) {
    return allows(await this.#gate(subject), epoch);
  }

  /** Call on each request. False: the session is over, even if its record is still (or again) there. */
  async check(subject, epoch, startedMs) {
    return allows(await this.#gate(subject), epoch, startedMs);
  }

  async #gate(subject) {
    let gate = this.#unread;
    try {
      gate = parseGate(await this.#gates.read(subject));
      await this.#beat();
      this.#note(null);
    } catch (problem) {
      this.#note(problem);
    }
    return gate;
  }

  async #beat() {
    const now = performance.now();
    if (now < this.#nextBeat) return;
    this.#nextBeat = now + this.#beatEveryMs;
    await this.#gates.beat(Date.now());
  }

  #note(problem) {
    if (problem && !this.#failing) {
      const standing = this.#unread.denied ? "denied" : "open";
      this.#log(`scim guard: gate store fails (${problem.message}): unread gates count as ${standing}`);
    } else if (!problem && this.#failing) {
      this.#log("scim guard: gate store answers again");
    }
    this.#failing = problem !== null;
  }
}

// --- where gates are kept -------------------------------------------------------------------------------------

/** Fill `{tenant}` and `{subject}` of a key template; literal braces are doubled. */
export function fillKey(template, values) {
  return template.replace(/\{\{|\}\}|\{(tenant|subject)\}/g, (found, name) => (name ? values[name] : found[0]));
}

/**
 * Gates in Redis. `client` is a connected client of `redis` or `ioredis`; `gateKey` is the session store's template
 * of the same name, filled with what the CRM calls the subject.
 */
export function redisGates(
  client,
  { tenant = "default", gateKey = "scim:gate:{tenant}:{subject}", guardKey = "scim:guard:{tenant}" } = {},
) {
  return {
    read: (subject) => client.get(fillKey(gateKey, { tenant, subject })),
    beat: (nowMs) => client.set(fillKey(guardKey, { tenant }), String(nowMs)),
  };
}

/**
 * Gates in the tables of TABLES. `run(sql, values)` executes one statement by itself (never inside a longer
 * transaction, whose snapshot would show yesterday's gate) and gives `{ rows, changed }`:
 *
 *     pg      (sql, values) => pool.query(sql, values).then((r) => ({ rows: r.rows, changed: r.rowCount }))
 *     mysql2  (sql, values) => pool.execute(sql, values).then(([r]) => ({ rows: r, changed: r.affectedRows }))
 *
 * `parameter` is the driver's placeholder: "?", or "$" for $1, $2, …
 */
export function sqlGates(run, { tenant = "default", parameter = "?" } = {}) {
  const execute = (sql, values) => {
    let count = 0;
    return run(parameter === "$" ? sql.replace(/\?/g, () => `$${++count}`) : sql, values);
  };
  return {
    async read(subject) {
      const { rows } = await execute("SELECT epoch, denied, not_before FROM scim_gate WHERE subject = ?", [subject]);
      const [row] = rows;
      return row ? `${row.epoch}:${Number(row.denied)}:${row.not_before}` : null;
    },
    async beat(nowMs) {
      const { changed } = await execute("UPDATE scim_guard SET seen_ms = ? WHERE name = ?", [nowMs, tenant]);
      if (!changed) await execute("INSERT INTO scim_guard (seen_ms, name) VALUES (?, ?)", [nowMs, tenant]);
    },
  };
}

// --- middleware -----------------------------------------------------------------------------------------------

/**
 * Express (or Connect) middleware: checks each request; put it after the middleware that loads the session.
 * `identify(req)` returns `{ subject, epoch }` (or `{ subject, startedMs }`), or null for nobody; it may be async.
 * `refuse(req, res)` answers for a dead session; by default a bare 401.
 */
export function guardRequests(guard, identify, refuse = refuseWith401) {
  return async (req, res, next) => {
    let dead;
    try {
      const session = await identify(req);
      dead = session && !(await guard.check(session.subject, session.epoch, session.startedMs));
    } catch (problem) {
      return next(problem);
    }
    return dead ? refuse(req, res) : next();
  };
}

function refuseWith401(req, res) {
  const answer = () => {
    res.statusCode = 401;
    res.setHeader("Content-Type", "text/plain");
    res.setHeader("Cache-Control", "no-store");
    res.end("This session has ended. Sign in again.\n");
  };
  // express-session would save the dead session again when the answer ends.
  req.session?.destroy ? req.session.destroy(answer) : answer();
}
