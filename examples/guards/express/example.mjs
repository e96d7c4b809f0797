// A login with express-session in Redis and the guard around it: what a CRM adds is marked with "scim".
// Start it with PORT and REDIS_URL; needs express, express-session, connect-redis and redis.
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { Guard, guardRequests, redisGates } from "./scim-guard.mjs";

const LIFETIME_S = 8 * 3600;
const tenant = "default";
const indexKey = (subject) => `scim:idx:${tenant}:${subject}`;

// Without the offline queue a command fails at once while Redis is away, and the guard lets the CRM work on.
const redis = createClient({ url: process.env.REDIS_URL, disableOfflineQueue: true });
redis.on("error", (problem) => console.warn(`redis: ${problem.message}`));
await redis.connect();

const guard = new Guard(redisGates(redis, { tenant })); // scim

const app = express();
app.use(express.json());
app.use(
  session({
    store: new RedisStore({ client: redis, ttl: LIFETIME_S }),
    secret: process.env.SESSION_SECRET ?? "example",
    resave: false,
    saveUninitialized: false,
  }),
);
app.use(guardRequests(guard, (req) => req.session.user ?? null)); // scim: { subject, epoch }

app.post("/login", async (req, res) => {
  const { subject } = req.body; // a real CRM looks the user up and takes the key that the server's template names
  const epoch = await guard.begin(subject); // scim: before the password is checked
  await call((done) => req.session.regenerate(done));
  req.session.user = { subject, epoch };
  await redis.sAdd(indexKey(subject), req.sessionID); // scim: the index, before the session
  await redis.expire(indexKey(subject), LIFETIME_S);
  await call((done) => req.session.save(done)); // scim: stored now, not when the answer ends
  if (!(await guard.confirm(subject, epoch))) {
    await call((done) => req.session.destroy(done)); // scim: deactivated meanwhile
    return res.status(403).json({ error: "deactivated" });
  }
  return res.json({ subject });
});

app.get("/me", (req, res) => (req.session.user ? res.json(req.session.user) : res.status(401).end()));

app.get("/healthz", (req, res) => res.end("ok\n"));

const call = (start) => new Promise((resolve, reject) => start((problem) => (problem ? reject(problem) : resolve())));

app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log("listening"));
