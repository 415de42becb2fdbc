// Reads what tinystyle/web/pack.py wrote: the weights of every style.

const half = (u) => {
  const sign = u & 0x8000 ? -1 : 1, exponent = (u >> 10) & 31, fraction = u & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
};

// Returns a function that reads n numbers: a plane of high bytes, then the low bits of all, packed.
const reader = (bytes) => {
  let at = 0;
  return (n, low) => {
    const values = new Uint16Array(n), bits = at + n;
    for (let i = 0; i < n; i++) {
      let value = bytes[at + i];
      for (let b = i * low; b < (i + 1) * low; b++) value = value * 2 + ((bytes[bits + (b >> 3)] >> (7 - (b & 7))) & 1);
      values[i] = value;
    }
    at = bits + Math.ceil((n * low) / 8);
    return values;
  };
};

// Gives each layer of each style `weights` (out, in, kernel, kernel), and `gain` and `shift` of its norm. A style with `of` has
// the weights of that style, the same arrays.
const readWeights = (styles, bytes) => {
  const read = reader(bytes);
  for (const { layers, levels, of } of styles) {
    const own = of === undefined;
    const channels = layers.reduce((sum, layer) => sum + layer.out, 0);
    const size = (layer) => layer.in * layer.kernel ** 2;
    const norms = Float32Array.from(read(channels * (levels && own ? 3 : 2), 8), half);
    const low = levels ? Math.max(0, 24 - Math.clz32(2 * levels)) : 8;
    const codes = own && read(layers.reduce((sum, layer) => sum + layer.out * size(layer), 0), low);
    let channel = 0, code = 0;
    layers.forEach((layer, at) => {
      layer.gain = norms.subarray(channel, channel + layer.out);
      layer.shift = norms.subarray(channels + channel, channels + channel + layer.out);
      layer.weights = own ? new Float32Array(layer.out * size(layer)) : styles[of].layers[at].weights;
      for (let i = 0; own && i < layer.weights.length; i++, code++) {
        const step = levels && norms[2 * channels + channel + Math.floor(i / size(layer))];
        layer.weights[i] = levels ? (codes[code] - levels) * step : half(codes[code]);
      }
      channel += layer.out;
    });
  }
};

// What is between two styles that have the same weights: norms with `share` of those of the second.
const between = (one, two, share) => {
  const mixed = (a, b) => a.map((value, i) => value + (b[i] - value) * share);
  const layers = one.layers.map((layer, at) => {
    const other = two.layers[at];
    return { ...layer, gain: mixed(layer.gain, other.gain), shift: mixed(layer.shift, other.shift) };
  });
  return { ...one, layers };
};

// The photo (RGBA bytes) as the network sees it: RGB in 0..1, four floats a pixel, `margin` wider on each side and to a
// multiple of `multiple`; by reflection, or by repetition of the border where the photo is too small for that.
const extended = (photo, { margin, multiple }) => {
  const { data, width, height } = photo;
  const right = margin + ((multiple - (width % multiple)) % multiple);
  const bottom = margin + ((multiple - (height % multiple)) % multiple);
  const reflect = bottom < height && right < width;
  const place = (i, side) => {
    if (!reflect) return Math.min(Math.max(i, 0), side - 1);
    return i < 0 ? -i : i < side ? i : 2 * side - 2 - i;
  };
  const wide = margin + width + right, high = margin + height + bottom;
  const pixels = new Float32Array(4 * wide * high);
  const columns = Int32Array.from({ length: wide }, (_, x) => 4 * place(x - margin, width));
  for (let y = 0, to = 0; y < high; y++) {
    const row = 4 * width * place(y - margin, height);
    for (let x = 0; x < wide; x++, to += 4) {
      const from = row + columns[x];
      pixels[to] = data[from] / 255;
      pixels[to + 1] = data[from + 1] / 255;
      pixels[to + 2] = data[from + 2] / 255;
    }
  }
  return { pixels, width: wide, height: high };
};

// What the shaders of both GPU paths multiply by: for each tap, group of 4 inputs and group of 4 outputs, four vectors.
// The vector of input i holds its weights for the 4 outputs.
const grouped = (layer) => {
  const ins = Math.ceil(layer.in / 4), outs = Math.ceil(layer.out / 4), taps = layer.kernel ** 2;
  const values = new Float32Array(taps * ins * outs * 16);
  for (let o = 0, from = 0; o < layer.out; o++) {
    for (let i = 0; i < layer.in; i++) {
      for (let tap = 0; tap < taps; tap++, from++) {
        values[((((tap * ins + (i >> 2)) * outs + (o >> 2)) * 4 + (i & 3)) * 4) + (o & 3)] = layer.weights[from];
      }
    }
  }
  return values;
};

// Sides of what a layer puts out.
const sizeAfter = (layer, { width, height }) => ({
  width: Math.ceil((width * layer.up) / layer.stride),
  height: Math.ceil((height * layer.up) / layer.stride),
});
