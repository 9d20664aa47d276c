/**
 * `npm start -w @frugal/split-chat`: one port for the page, the weights that it fetches, the codec table, `/metrics` and the split server.
 * Ctrl-C ends it.
 */
import { parseArgs } from "node:util";
import { startSplitChat } from "./server/split-chat-server.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8017" },
    host: { type: "string", default: "127.0.0.1" },
    origin: { type: "string", multiple: true, default: [] },
    tables: { type: "string" },
  },
});
const port = Number(values.port);
if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`--port ${values.port}; use 1 to 65535`);

const app = await startSplitChat({
  port, host: values.host, origins: values.origin, onLine: (line) => console.log(line),
  ...(values.tables === undefined ? {} : { tableFolder: values.tables }),
});
console.log(`\n  ${app.url}\n\nOpen it in a browser. Metrics: ${app.url}metrics`);

let isEnding = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (isEnding) process.exit(130);
    isEnding = true;
    void app.close().then(() => process.exit(0));
  });
}
