import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { extname, join, normalize } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Cross-origin isolation gives pages SharedArrayBuffer and finer clocks. */
const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** Serves folders by the first part of the path, on a port of its own on this machine; answers with the address. */
export async function serve(folders: Readonly<Record<string, string>>): Promise<{ readonly address: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
    const [, first = "", ...rest] = path.split("/");
    const page = /^(\w[\w-]*)\.html$/.exec(first)?.[1];
    if (page !== undefined) {
      response.writeHead(200, { ...isolation, "Content-Type": "text/html" });
      response.end(`<!doctype html><meta charset="utf-8"><title>${page}</title><script type="module" src="/pages/${page}.js"></script>`);
      return;
    }
    const folder = Object.hasOwn(folders, first) ? folders[first] : undefined;
    const file = folder === undefined || rest.includes("..") ? undefined : join(folder, ...rest);
    const type = file === undefined ? undefined : types[extname(file)];
    if (file === undefined || type === undefined || !existsSync(file)) {
      response.writeHead(404, isolation).end();
      return;
    }
    response.writeHead(200, { ...isolation, "Content-Type": type, "Cross-Origin-Resource-Policy": "same-origin" });
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  // "localhost" is a secure context, as WebGPU wants.
  return { address: `http://localhost:${port}`, server };
}
