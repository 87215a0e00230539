// Producer: hand in commands and learn their outcomes, from Node.js.
//
//     npm ci && node producer.mjs redis://localhost:6379 < commands.jsonl
//
// Prints one outcome a line. Whatever has none after a while is sent again under the same id,
// which does no harm: a command takes effect once.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "./wire.mjs";

const ENQUEUE = readFileSync(new URL("../workers/queue/lua/enqueue.lua", import.meta.url), "utf8");
const KEYS = ["", ".msgs", ".pending", ".bell", ".stamp"].map((part) => `dramatiq:commands${part}`);
const EVENTS = "earnest:events";
const MOST_WAITING = "1000000";
const PER_MESSAGE = 100;
const PATIENCE_MS = 10_000;

// One message of up to 100 commands, with room for the server's stamp.
function message(texts) {
  const body = { queue_name: "commands", actor_name: "settle_commands" };
  const text = JSON.stringify({ ...body, kwargs: { commands: texts } });
  return [randomUUID(), String(texts.length), `${text.slice(0, -2)},"received_at":`, "}}"];
}

async function handIn(client, texts) {
  for (let n = 0; n < texts.length; n += PER_MESSAGE) {
    const args = [MOST_WAITING, ...message(texts.slice(n, n + PER_MESSAGE))];
    while ((await client.eval(ENQUEUE, { keys: KEYS, arguments: args })) === "0") {
      await pause(500);
    }
  }
}

async function newest(client) {
  const [last] = await client.xRevRange(EVENTS, "+", "-", { COUNT: 1 });
  return last ? last.id : "0";
}

// Print the outcomes of what waits, and take them out, until all are known or time is up.
async function collect(client, waiting, start) {
  const until = Date.now() + PATIENCE_MS;
  let id = start;
  while (waiting.size > 0 && Date.now() < until) {
    const streams = await client.xRead({ key: EVENTS, id }, { COUNT: 1000, BLOCK: 1000 });
    for (const entry of streams?.[0].messages ?? []) {
      id = entry.id;
      const { type, data } = JSON.parse(entry.message.event);
      if (type === "command.settled" && waiting.delete(data.command_id)) {
        console.log(JSON.stringify(data));
      }
    }
  }
}

const client = await connect(process.argv[2] ?? "redis://localhost:6379");
const lines = readFileSync(0, "utf8").split("\n").filter((line) => line.trim());
const waiting = new Map(lines.map((line) => [JSON.parse(line).id, line]));
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
