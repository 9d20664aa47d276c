const loaded = Symbol.for("@frugal/tensor-core");

/**
 * Tensors of one copy of this package are strangers to another: a tape does not see what the other computes, and gradients come out wrong. A dependency tree with two versions is the
 * usual cause. Reloading a module in development loads a copy too, so this warns instead of failing.
 */
export function warnOfSecondCopy(url: string): void {
  const copies = ((globalThis as { [loaded]?: Set<string> })[loaded] ??= new Set());
  copies.add(url);
  if (copies.size > 1) {
    console.warn(`@frugal/tensor-core is loaded ${copies.size} times; gradients are wrong where their tensors meet. Install one version:\n  ${[...copies].join("\n  ")}`);
  }
}
