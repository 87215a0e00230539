// Wire: a connection to Redis by any of the URLs that Earnest takes.
import { createClient } from "redis";

export async function connect(url) {
  const unix = url.startsWith("unix://");
  const path = decodeURIComponent(url.slice("unix://".length));
  const client = createClient(unix ? { socket: { path } } : { url });
  // Without a listener a lost connection would end the process; with one it is opened again.
  client.on("error", (error) => console.error(`waiting: ${error.message || error.code}`));
  return client.connect();
}
