// Producer: hand in commands and learn their outcomes, from Node.js.
//
//     npm ci && node producer.mjs redis://localhost:6379 < commands.jsonl
//
// Prints one outcome a line. Whatever has none after a while is sent again under the same id,
// which does no harm: a command takes effect once. An id belongs to its sender: others may use it
// too, so outcomes are told apart by both.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "./wire.mjs";

const ENQUEUE = readFileSync(new URL("../docs/contract/enqueue.lua", import.meta.url), "utf8");
const NAMESPACE = "earnest";
const KEYS = [`${NAMESPACE}:commands`, NAMESPACE];
const EVENTS = `${NAMESPACE}:events`;
const MOST_WAITING = "1000000";
const PER_MESSAGE = 100;
const PATIENCE_MS = 10_000;

// One message of up to 100 commands: its id, their number, its text.
function message(texts) {
  const body = { queue_name: "commands", actor_name: "settle_commands" };
  const text = JSON.stringify({ ...body, kwargs: { commands: texts } });
  return [randomUUID(), String(texts.length), text];
}

async function handIn(client, texts) {
  for (let n = 0; n < texts.length; n += PER_MESSAGE) {
    const args = [MOST_WAITING, ...message(texts.slice(n, n + PER_MESSAGE))];
    while ((await client.eval(ENQUEUE, { keys: KEYS, arguments: args })).length === 0) {
      await pause(500);
    }
  }
}

async function newest(client) {
  const [last] = await client.xRevRange(EVENTS, "+", "-", { COUNT: 1 });
  return last ? last.id : "0";
}

// What the outcome of a command will be about: its sender and its id.
function subjectOf(line) {
  const { by, id } = JSON.parse(line);
  return `command:${by.role}:${by.id}:${id}`;
}

// Print the outcomes of what waits, and take them out, until all are known or time is up.
async function collect(client, waiting, start) {
  const until = Date.now() + PATIENCE_MS;
  let id = start;
  while (waiting.size > 0 && Date.now() < until) {
    const streams = await client.xRead({ key: EVENTS, id }, { COUNT: 1000, BLOCK: 1000 });
    for (const entry of streams?.[0].messages ?? []) {
      id = entry.id;
      const { type, subject, data } = JSON.parse(entry.message.event);
      if (type === "command.settled" && waiting.delete(subject)) {
        console.log(JSON.stringify(data));
      }
    }
  }
}

const client = await connect(process.argv[2] ?? "redis://localhost:6379");
const lines = readFileSync(0, "utf8").split("\n").filter((line) => line.trim());
const waiting = new Map(lines.map((line) => [subjectOf(line), line]));
while (waiting.size > 0) {
  try {
    const start = await newest(client);
    await handIn(client, [...waiting.values()]);
    await collect(client, waiting, start);
  } catch (error) {
    console.error(`trying again: ${error.message}`);
    await pause(500);
  }
}
client.destroy();
