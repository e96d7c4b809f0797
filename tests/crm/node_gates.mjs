// Asks the guard over every client it is meant for. Arguments: client, address. Reads one question per line,
// ["open"|"closed", "begin"|"check"|"confirm", subject, epoch], and prints the answers.
import { createInterface } from "node:readline";
import { Guard, redisGates, sqlGates } from "./scim-guard.mjs";

const [client, address] = process.argv.slice(2);

const open = {
  async redis() {
    const { createClient } = await import("redis");
    const redis = createClient({ url: address, disableOfflineQueue: true });
    redis.on("error", () => {});
    await redis.connect();
    return redisGates(redis, { tenant: "acme" });
  },
  async ioredis() {
    const { Redis } = await import("ioredis");
    const redis = new Redis(address, { enableOfflineQueue: false, lazyConnect: true });
    redis.on("error", () => {});
    await redis.connect();
    return redisGates(redis, { tenant: "acme" });
  },
  async mysql2() {
    const { default: mysql } = await import("mysql2/promise");
    const pool = mysql.createPool(address);
    const run = (sql, values) => pool.execute(sql, values).then(([r]) => ({ rows: r, changed: r.affectedRows }));
    return sqlGates(run, { tenant: "acme" });
  },
  async pg() {
    const { default: pg } = await import("pg");
    const pool = new pg.Pool({ connectionString: address });
    pool.on("error", () => {});
    const run = (sql, values) => pool.query(sql, values).then((r) => ({ rows: r.rows, changed: r.rowCount }));
    return sqlGates(run, { tenant: "acme", parameter: "$" });
  },
};

const gates = await open[client]();
const guards = { open: new Guard(gates), closed: new Guard(gates, { failClosed: true }) };
for await (const line of createInterface({ input: process.stdin })) {
  const [policy, question, subject, epoch] = JSON.parse(line);
  console.log(JSON.stringify(await guards[policy][question](subject, epoch)));
}
process.exit(0);
