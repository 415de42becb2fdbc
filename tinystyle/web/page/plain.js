// The network in plain JavaScript, for browsers without WebGPU and WebGL2. It runs in a worker, which gets this function
// as text: it may use nothing from outside.

const plainNetwork = () => {
  // Tensors are { data: Float32Array (channels, height, width), channels, width, height }.

  // Enlarges by repetition, and adds a border of zeros. In doubles, which JavaScript multiplies without a conversion.
  const bordered = ({ data, channels, width, height }, up, border) => {
    const wide = width * up + 2 * border, high = height * up + 2 * border;
    const padded = new Float64Array(channels * wide * high);
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height * up; y++) {
        const from = (c * height + Math.floor(y / up)) * width, to = (c * high + y + border) * wide + border;
        for (let x = 0; x < width * up; x++) padded[to + x] = data[from + (up === 1 ? x : x >> 1)];
      }
    }
    return { data: padded, wide, high };
  };

  // Adds three taps of a row to the sums of three outputs, so that a value is read once for nine products.
  const addRow = (sums, width, data, from, stride, w, at, step) => {
    const a = w[at], b = w[at + 1], c = w[at + 2], d = w[at + step], e = w[at + step + 1], f = w[at + step + 2];
    const g = w[at + 2 * step], h = w[at + 2 * step + 1], i = w[at + 2 * step + 2];
    const second = width, third = 2 * width;
    for (let x = 0; x < width; x++, from += stride) {
      const one = data[from], two = data[from + 1], three = data[from + 2];
      sums[x] += a * one + b * two + c * three;
      sums[second + x] += d * one + e * two + f * three;
      sums[third + x] += g * one + h * two + i * three;
    }
  };

  const convolved = (layer, input) => {
    const { kernel, stride, up } = layer, step = layer.in * kernel * kernel;
    const { data, wide, high } = bordered(input, up, kernel >> 1);
    const width = Math.ceil((input.width * up) / stride), height = Math.ceil((input.height * up) / stride);
    const weights = new Float64Array((layer.out + 2) * step), sums = new Float64Array(3 * width);
    weights.set(layer.weights);
    const out = new Float32Array(layer.out * width * height);
    for (let y = 0; y < height; y++) {
      for (let o = 0; o < layer.out; o += 3) {
        sums.fill(0);
        for (let i = 0; i < layer.in; i++) {
          for (let k = 0; k < kernel; k++) {
            const from = (i * high + y * stride + k) * wide, at = o * step + (i * kernel + k) * kernel;
            for (let x = 0; x < kernel; x += 3) addRow(sums, width, data, from + x, stride, weights, at + x, step);
          }
        }
        for (let each = o; each < Math.min(o + 3, layer.out); each++) {
          out.set(sums.subarray((each - o) * width, (each - o + 1) * width), (each * height + y) * width);
        }
      }
    }
    return { data: out, channels: layer.out, width, height };
  };

  // Instance norm, then the rectifier and the addition of an earlier tensor where the layer has them; in place.
  const normalized = (layer, { data, channels, width, height }, earlier) => {
    const n = width * height;
    for (let c = 0; c < channels; c++) {
      const begin = c * n, end = begin + n;
      let mean = 0, variance = 0;
      for (let i = begin; i < end; i++) mean += data[i];
      mean /= n;
      for (let i = begin; i < end; i++) variance += (data[i] - mean) ** 2;
      const gain = layer.gain[c] / Math.sqrt(variance / n + 1e-5), shift = layer.shift[c] - gain * mean;
      for (let i = begin; i < end; i++) {
        let value = gain * data[i] + shift;
        if (layer.relu && value < 0) value = 0;
        data[i] = earlier ? value + earlier.data[i] : value;
      }
    }
  };

  // Returns RGBA bytes of size (width, height) for an extended photo of four floats a pixel.
  return (layers, margin, photo, width, height) => {
    const n = photo.width * photo.height, input = new Float32Array(3 * n);
    for (let i = 0; i < n; i++) for (let c = 0; c < 3; c++) input[c * n + i] = photo.pixels[4 * i + c];
    const tensors = [{ data: input, channels: 3, width: photo.width, height: photo.height }];
    const lastUse = (index) => layers.reduce((last, layer, at) => (layer.from === index || layer.add === index ? at : last), -1);
    layers.forEach((layer, at) => {
      const out = convolved(layer, tensors[layer.from]);
      normalized(layer, out, tensors[layer.add]);
      tensors.push(out);
      for (let index = 0; index <= at; index++) if (lastUse(index) <= at) tensors[index] = undefined;
    });
    const { data } = tensors.at(-1), bytes = new Uint8ClampedArray(4 * width * height).fill(255);
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0, from = (y + margin) * photo.width + margin; x < width; x++, from++, to += 4) {
        for (let c = 0; c < 3; c++) bytes[to + c] = Math.round((Math.tanh(data[c * n + from]) + 1) * 127.5);
      }
    }
    return bytes;
  };
};

const plainBackend = () => {
  const source = `const run = (${plainNetwork})();
    onmessage = ({ data: { id, layers, margin, photo, width, height } }) => {
      try {
        const bytes = run(layers, margin, photo, width, height);
        postMessage({ id, bytes }, [bytes.buffer]);
      } catch (error) {
        postMessage({ id, error: String(error) });
      }
    };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const waiting = new Map();
  let id = 0;
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data.bytes);
  };
  worker.onerror = (event) => waiting.forEach(({ reject }) => reject(new Error(event.message || "the worker failed")));
  return {
    name: "JavaScript",
    most: 4e6,
    run: (style, photo) => new Promise((resolve, reject) => {
      waiting.set(++id, { resolve, reject });
      const { width, height } = photo, larger = extended(photo, style);
      worker.postMessage({ id, layers: style.layers, margin: style.margin, photo: larger, width, height }, [larger.pixels.buffer]);
    }),
  };
};
