// Reads vectors line by line (see test_vectors.py) and prints what the Node guard makes of each.
import { createInterface } from "node:readline";
import { Guard, allows, fillKey, parseGate } from "../../examples/guards/express/scim-guard.mjs";

const read = (answer) => {
  if (answer === "down") throw new Error("down");
  return answer;
};

const answers = {
  decide({ marker, epoch, started_ms }) {
    let gate;
    try {
      gate = parseGate(marker);
    } catch {
      return "invalid";
    }
    return String(allows(gate, epoch, started_ms));
  },
  async login({ begin, confirm, fail_closed }) {
    const stored = [begin, confirm];
    const gates = { read: () => read(stored.shift()), beat: () => {} };
    const guard = new Guard(gates, { failClosed: fail_closed, log: () => {} });
    const epoch = await guard.begin("s");
    return `${epoch} ${await guard.confirm("s", epoch)}`;
  },
  key: ({ template, tenant, subject }) => fillKey(template, { tenant, subject }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, vector] = JSON.parse(line);
  console.log(JSON.stringify(await answers[kind](vector)));
}
