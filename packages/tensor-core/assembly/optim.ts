/** Optimizer steps, in place. Arrays are contiguous float32 of equal length; ranges over elements, granularity 4. */
import { loadPartial, storePartial } from "./math";

/**
 * g = scale * gradient; m += (1 - beta1)(g - m) and v likewise with g²; p = p * decay - step * m / (sqrt(v) * root + epsilon), where
 * decay = 1 - learningRate * weightDecay, step = learningRate / correction1 and root = 1 / sqrt(correction2). Complements are 1 - beta.
 */
export function adamW(
  parameter: usize, gradient: usize, firstMoment: usize, secondMoment: usize, scale: f32, beta1: f32, complement1: f32, beta2: f32,
  complement2: f32,
  decay: f32, step: f32, root: f32, epsilon: f32, begin: i32, end: i32,
): void {
  const start = <usize>begin << 2;
  parameter += start;
  gradient += start;
  firstMoment += start;
  secondMoment += start;
  const scales = f32x4.splat(scale);
  const betas1 = f32x4.splat(beta1);
  const betas2 = f32x4.splat(beta2);
  const complements1 = f32x4.splat(complement1);
  const complements2 = f32x4.splat(complement2);
  const decays = f32x4.splat(decay);
  const steps = f32x4.splat(step);
  const roots = f32x4.splat(root);
  const epsilons = f32x4.splat(epsilon);
  for (let rest = end - begin; rest > 0; rest -= 4) {
    const whole = rest >= 4;
    const g = f32x4.mul(whole ? v128.load(gradient) : loadPartial(gradient, rest), scales);
    let m = whole ? v128.load(firstMoment) : loadPartial(firstMoment, rest);
    let v = whole ? v128.load(secondMoment) : loadPartial(secondMoment, rest);
    let p = whole ? v128.load(parameter) : loadPartial(parameter, rest);
    m = f32x4.add(f32x4.mul(betas1, m), f32x4.mul(complements1, g));
    v = f32x4.add(f32x4.mul(betas2, v), f32x4.mul(f32x4.mul(complements2, g), g));
    const update = f32x4.div(f32x4.mul(steps, m), f32x4.add(f32x4.mul(f32x4.sqrt(v), roots), epsilons));
    p = f32x4.sub(f32x4.mul(p, decays), update);
    if (whole) {
      v128.store(firstMoment, m);
      v128.store(secondMoment, v);
      v128.store(parameter, p);
    } else {
      storePartial(firstMoment, m, rest);
      storePartial(secondMoment, v, rest);
      storePartial(parameter, p, rest);
    }
    parameter += 16;
    gradient += 16;
    firstMoment += 16;
    secondMoment += 16;
  }
}

/**
 * g = scale * gradient + weightDecay * p; v = momentum * v + complement * g (complement = 1 - dampening); p -= learningRate * (nesterov ? g
 * + momentum * v : v), or learningRate * g where velocity is 0.
 */
export function sgd(
  parameter: usize, gradient: usize, velocity: usize, scale: f32, weightDecay: f32, momentum: f32, complement: f32, learningRate: f32,
  nesterov: i32,
  begin: i32, end: i32,
): void {
  const start = <usize>begin << 2;
  parameter += start;
  gradient += start;
  if (velocity) velocity += start;
  for (let rest = end - begin; rest > 0; rest -= 4) {
    const whole = rest >= 4;
    let p = whole ? v128.load(parameter) : loadPartial(parameter, rest);
    let g = f32x4.mul(whole ? v128.load(gradient) : loadPartial(gradient, rest), f32x4.splat(scale));
    g = f32x4.add(g, f32x4.mul(p, f32x4.splat(weightDecay)));
    if (velocity) {
      let v = f32x4.mul(whole ? v128.load(velocity) : loadPartial(velocity, rest), f32x4.splat(momentum));
      v = f32x4.add(v, f32x4.mul(g, f32x4.splat(complement)));
      if (whole) v128.store(velocity, v);
      else storePartial(velocity, v, rest);
      g = nesterov ? f32x4.add(g, f32x4.mul(v, f32x4.splat(momentum))) : v;
      velocity += 16;
    }
    p = f32x4.sub(p, f32x4.mul(g, f32x4.splat(learningRate)));
    if (whole) v128.store(parameter, p);
    else storePartial(parameter, p, rest);
    parameter += 16;
    gradient += 16;
  }
}
