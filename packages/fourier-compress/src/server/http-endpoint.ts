import { isSameSecret } from "./authentication.ts";
import type { SplitServer } from "./split-server-options.ts";

/** How `GET /metrics` is answered. */
export interface MetricsOptions {
  /** Default "/metrics". */
  readonly path?: string;
  /** Asked for as `Authorization: Bearer …`. Default: everybody may read. */
  readonly bearerToken?: string;
}

/** A request without its body. */
export interface EndpointRequest {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  readonly authorization: string | undefined;
}

/** Its answer. */
export interface EndpointResponse {
  readonly status: number;
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
}

const PLAIN = "text/plain; charset=utf-8";

function plain(status: number, body: string, headers: { readonly [name: string]: string } = {}): EndpointResponse {
  return { status, headers: { "content-type": PLAIN, "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers }, body };
}

/** The path of a request, without its query; "" for what is no path. */
export function pathOf(url: string): string {
  return url.startsWith("/") ? url.split(/[?#]/, 1)[0]! : "";
}

/** What a listener answers to ordinary requests: `/healthz`, and the metrics of the server unless they are turned off. */
export async function answerRequest(
  server: Pick<SplitServer, "metrics">, metrics: MetricsOptions | false, { method, url, authorization }: EndpointRequest,
): Promise<EndpointResponse> {
  const path = pathOf(url);
  const isMetrics = metrics !== false && path === (metrics.path ?? "/metrics");
  if (!isMetrics && path !== "/healthz") return plain(404, "not found\n");
  if (method !== "GET" && method !== "HEAD") return plain(405, "only GET\n", { allow: "GET, HEAD" });
  if (!isMetrics) return plain(200, "ok\n");
  if (metrics.bearerToken !== undefined && !isSameSecret(authorization ?? "", `Bearer ${metrics.bearerToken}`)) {
    return plain(401, "unauthorized\n", { "www-authenticate": "Bearer" });
  }
  try {
    return plain(200, await server.metrics(), { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  } catch {
    return plain(500, "the metrics could not be read\n");
  }
}
