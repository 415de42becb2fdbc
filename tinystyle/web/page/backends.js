// Which of the three paths computes: the first that works, or the one that the address or the visitor asks for. A GPU that
// the browser emulates on the processor is slower than plain JavaScript, and taken only where it is asked for.

const BACKENDS = { webgpu: webgpuBackend, webgl: webglBackend, javascript: plainBackend };

// Whether a path computes what plain JavaScript does, for a small picture: a driver with an error may not.
const agrees = async (backend, style) => {
  const side = 16, data = Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) => (i * i * 7 + i * 31) % 256);
  const photo = { data, width: side, height: side };
  const expected = plainNetwork()(style.layers, style.margin, extended(photo, style), side, side);
  const found = await backend.run(style, photo);
  return expected.every((value, i) => Math.abs(value - found[i]) <= 4);
};

// Returns { key, backend, why }: `why` says what kept the paths before it from being taken. None before `first` is tried.
const chooseBackend = async (wanted, style, first = "webgpu") => {
  const reasons = [], keys = Object.keys(BACKENDS);
  for (const key of wanted in BACKENDS ? [wanted] : keys.slice(keys.indexOf(first))) {
    try {
      const backend = await BACKENDS[key](key === wanted);
      if (key !== "javascript" && !(await agrees(backend, style))) throw new Error(`${backend.name} computes something else here`);
      return { key, backend, why: reasons.join("; ") };
    } catch (error) {
      reasons.push(error.message);
    }
  }
  throw new Error(reasons.join("; "));
};
