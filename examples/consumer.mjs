// Consumer: turn events into notices, each once, whatever dies meanwhile. From Node.js.
//
//     npm ci && node consumer.mjs redis://localhost:6379 notices/ [STREAM] [IDLE_MS]
//
// Any number may run side by side on the same folder. A notice is a file, named by the hash of
// its event's id and put in place in one step; only then is the event acknowledged. So a repeat
// is recognised, and what a dead sibling had taken is taken over.
import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "./wire.mjs";

const [url, folder, stream = "earnest:reminders", idle = "30000"] = process.argv.slice(2);
const GROUP = "notices";
const NAME = `${hostname()}:${process.pid}`;
const BATCH = 100;

// Do what an event asks for, unless that was done before: a second link() of a name fails.
async function tell(event) {
  const recipient = event.data.recipient_id ?? event.data.client_id ?? "operators";
  const notice = { event_id: event.id, recipient, about: event.subject, type: event.type };
  const draft = join(folder, `.${randomUUID()}`);
  const file = await open(draft, "wx");
  await file.writeFile(JSON.stringify(notice));
  await file.sync();
  await file.close();
  const name = createHash("sha256").update(event.id).digest("hex");
  try {
    await link(draft, join(folder, `${name}.json`));
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    await unlink(draft);
  }
}

async function settle(client, entries) {
  for (const entry of entries) {
    // An entry that was dropped from the stream meanwhile comes as null.
    if (entry === null) continue;
    await tell(JSON.parse(entry.message.event));
    await client.xAck(stream, GROUP, entry.id);
  }
}

// Settle what a sibling took and has not settled for so long that it must be dead.
async function takeOver(client) {
  let start = "0-0";
  do {
    const reply = await client.xAutoClaim(stream, GROUP, NAME, Number(idle), start, { COUNT: BATCH });
    await settle(client, reply.messages);
    start = reply.nextId;
  } while (start !== "0-0");
}

async function takeNew(client) {
  const from = { key: stream, id: ">" };
  const reply = await client.xReadGroup(GROUP, NAME, from, { COUNT: BATCH, BLOCK: 1000 });
  await settle(client, reply?.[0].messages ?? []);
}

// Register the group, at the beginning: a server that was wiped has forgotten it.
async function register(client) {
  try {
    await client.xGroupCreate(stream, GROUP, "0", { MKSTREAM: true });
  } catch (error) {
    if (!error.message.includes("BUSYGROUP")) throw error;
  }
}

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => { stopping = true; });
await mkdir(folder, { recursive: true });
const client = await connect(url);
while (!stopping) {
  try {
    await takeOver(client);
    await takeNew(client);
  } catch (error) {
    if (error.message.includes("NOGROUP")) await register(client).catch(() => pause(500));
    else await pause(500);
  }
}
client.destroy();
