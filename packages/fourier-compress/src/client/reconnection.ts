import { SettingsError } from "../errors.ts";

/** How a client makes a broken connection anew. */
export interface ReconnectSettings {
  /** Attempts in a row that may fail before what waits is given up; 0 never reconnects. Default 8. */
  readonly attempts: number;
  /** Milliseconds before the first attempt; each later one waits `factor` times as long. Default 100. */
  readonly initialDelay: number;
  /** Milliseconds that no attempt waits longer than, unless the server asks for more. Default 10 000. */
  readonly longestDelay: number;
  /** Default 2. */
  readonly factor: number;
}

const DEFAULTS: ReconnectSettings = { attempts: 8, initialDelay: 100, longestDelay: 10_000, factor: 2 };

/** @throws SettingsError for values outside their range */
export function checkReconnect(given: Partial<ReconnectSettings> = {}): ReconnectSettings {
  const settings = { ...DEFAULTS, ...given };
  const { attempts, initialDelay, longestDelay, factor } = settings;
  if (!Number.isInteger(attempts) || attempts < 0) throw new SettingsError(`reconnect: attempts ${attempts}; use an integer >= 0`);
  for (const [name, value] of Object.entries({ initialDelay, longestDelay })) {
    if (!(value >= 0 && Number.isFinite(value))) throw new SettingsError(`reconnect: ${name} ${value}; use milliseconds >= 0`);
  }
  if (!(factor >= 1 && Number.isFinite(factor))) throw new SettingsError(`reconnect: factor ${factor}; use a number >= 1`);
  return settings;
}

/**
 * Milliseconds before an attempt, counted from 0: the exponential delay, of which the half is left to chance, so that the clients of a
 * server that comes back do not all knock at once.
 * @param random uniform in [0, 1)
 */
export function reconnectDelay({ initialDelay, longestDelay, factor }: ReconnectSettings, attempt: number, random: number): number {
  return Math.min(longestDelay, initialDelay * factor ** attempt) * (0.5 + 0.5 * random);
}

/** Resolves after some milliseconds, or when the signal aborts; never rejects. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done, { once: true });
  });
}
