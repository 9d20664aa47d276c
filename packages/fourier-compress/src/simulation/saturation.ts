import { SettingsError } from "../errors.ts";
import { simulateClients, type ClientSimulationResult, type ClientSimulationSettings } from "./client-simulation.ts";

/** Settings of a simulation but for the number of clients. */
export type SweepSettings = Omit<ClientSimulationSettings, "clients">;

/** One simulation for each number of clients, all with the same seed. */
export function sweepClients(settings: SweepSettings, clients: readonly number[]): ClientSimulationResult[] {
  return clients.map((count) => simulateClients({ ...settings, clients: count }));
}

/** Options of `findSaturation`. */
export interface SaturationOptions {
  /** Mean response that counts as saturated, over that of one client. Default 2. */
  readonly slowdown?: number;
  /** Where the search ends. Default 100,000. */
  readonly mostClients?: number;
}

/**
 * The largest number of clients whose mean response is at most `slowdown` times that of one client, by simulation: doubling, then halving
 * the interval. `mostClients` where even so many are served.
 * @throws SettingsError
 */
export function findSaturation(settings: SweepSettings, { slowdown = 2, mostClients = 100_000 }: SaturationOptions = {}): number {
  if (!(slowdown > 1 && Number.isFinite(slowdown)))
    throw new SettingsError(`findSaturation: slowdown ${slowdown}; use a finite number > 1`);
  const limit = slowdown * simulateClients({ ...settings, clients: 1 }).meanSeconds;
  const isServed = (clients: number): boolean => simulateClients({ ...settings, clients }).meanSeconds <= limit;
  let served = 1;
  let tooMany = 2;
  while (tooMany <= mostClients && isServed(tooMany)) [served, tooMany] = [tooMany, 2 * tooMany];
  if (tooMany > mostClients) {
    if (isServed(mostClients)) return mostClients;
    tooMany = mostClients;
  }
  while (tooMany - served > Math.max(1, served / 100)) {
    const middle = Math.floor((served + tooMany) / 2);
    if (isServed(middle)) served = middle;
    else tooMany = middle;
  }
  return served;
}
