import type { Pipeline } from "./pipelines.ts";
import type { KernelLaunch } from "./program.ts";

/** What a launch was found to need, and the parts of launches that need the same. */
export interface LaunchPlan {
  readonly pipeline: Pipeline;
  /** One letter a storage array, r or w. */
  readonly access: string;
  /** See `find`. */
  readonly sharing: string;
  readonly bindings: readonly string[];
  readonly uniforms: readonly string[];
}

/**
 * Pipelines by the launches that use them. A launch says its program by several strings, mostly literals: comparing them is several times
 * faster than joining them to a key, and this is done for each launch.
 */
export class LaunchPlans {
  readonly #plans = new Map<string, Map<string, LaunchPlan[]>>();

  /** The plan of a launch. `sharing` says which of its arrays are one buffer, as far as the program depends on it. */
  find(launch: KernelLaunch, sharing: string): LaunchPlan | undefined {
    const plans = this.#plans.get(launch.name)?.get(launch.variant ?? "");
    if (plans !== undefined) for (const plan of plans) if (plan.sharing === sharing && fits(plan, launch)) return plan;
    return undefined;
  }

  add(launch: KernelLaunch, sharing: string, access: string, pipeline: Pipeline): LaunchPlan {
    const plan: LaunchPlan = {
      pipeline,
      access,
      sharing,
      bindings: Object.entries(launch.bindings).flatMap(([name, { type, access: use }]) => [name, type, use]),
      uniforms: Object.entries(launch.uniforms ?? {}).flatMap(([name, { type }]) => [name, type]),
    };
    let variants = this.#plans.get(launch.name);
    if (variants === undefined) this.#plans.set(launch.name, (variants = new Map()));
    const plans = variants.get(launch.variant ?? "");
    if (plans === undefined) variants.set(launch.variant ?? "", [plan]);
    else plans.push(plan);
    return plan;
  }
}

/** Whether bindings and uniforms have the same names and types, in the same order. */
function fits(plan: LaunchPlan, { bindings, uniforms }: KernelLaunch): boolean {
  let i = 0;
  for (const name in bindings) {
    const { type, access } = bindings[name]!;
    if (plan.bindings[i++] !== name || plan.bindings[i++] !== type || plan.bindings[i++] !== access) return false;
  }
  if (i !== plan.bindings.length) return false;
  i = 0;
  for (const name in uniforms) if (plan.uniforms[i++] !== name || plan.uniforms[i++] !== uniforms[name]!.type) return false;
  return i === plan.uniforms.length;
}
