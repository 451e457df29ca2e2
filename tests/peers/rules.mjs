// Nanoseconds for a message of one value through so many threshold rules of json-rules-engine, of which it meets one.
// Usage: node rules.mjs RULES MESSAGES
import { Engine } from "json-rules-engine";

const rules = Number(process.argv[2]);
const messages = Number(process.argv[3]);
const engine = new Engine([], { allowUndefinedFacts: true });
for (let n = 0; n < rules; n++) {
  engine.addRule({
    conditions: { all: [{ fact: `metric_${n}`, operator: "greaterThan", value: 1000 }] },
    event: { type: `rule-${n}` },
  });
}
const texts = Array.from({ length: messages }, (_, n) =>
  JSON.stringify({ device: "device-1", [`metric_${n % rules}`]: 20 + ((n * 7919) % 1000) * 0.01 }),
);
let raised = 0;
async function evaluate(text) {
  const { events } = await engine.run(JSON.parse(text));
  raised += events.length;
}
for (const text of texts.slice(0, Math.min(200, messages))) await evaluate(text);
const start = process.hrtime.bigint();
for (const text of texts) await evaluate(text);
const nanos = Number(process.hrtime.bigint() - start);
if (raised !== 0) throw new Error(`${raised} rules fired, none should`);
console.log(nanos / messages);
