// A canvas with the newest picture of a channel (channel.py) and marks over it, which tells where
// it is pointed at, in pixels of the picture with centres at integers, and of which picture.
// Text is drawn on the canvas: whatever a name holds, it never becomes part of the document.
const COLOURS = { sure: '#40ff60', doubted: '#ff6040', keypoint: '#40c0ff', taught: '#ffe040' };
const CLICK_PX = 4, MOST_CORNERS = 400, POINTER_MS = 120;

function showPictures(canvas, path, events) {
  const context = canvas.getContext('2d');
  let socket = null, kind = 'live';
  let bitmap = null, stamp = null, layers = {}, pressed = null, held = [];
  let outline = [], moves = 0, step = 1; // every step-th move is a corner

  function connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    socket = new WebSocket(`${scheme}://${location.host}${path}`);
    socket.binaryType = 'arraybuffer';
    let heading = null;
    socket.onmessage = async (event) => {
      if (typeof event.data === 'string') {
        heading = JSON.parse(event.data);
        if (!heading.picture) later(() => take(heading.layers, null, stamp));
        return;
      }
      const header = new DataView(event.data, 0, 8);
      const of = [header.getUint32(0, true), header.getUint32(4, true)];
      const picture = await createImageBitmap(new Blob([event.data.slice(8)]));
      const layers = heading.layers;
      later(() => take(layers, picture, of));
    };
    socket.onclose = () => setTimeout(connect, 1000);
  }

  // While the pointer is down, the picture stays the one that it was put on.
  function later(act) {
    if (pressed) held.push(act); else requestAnimationFrame(act);
  }

  function take(newest, picture, of) {
    layers = newest;
    if (picture) {
      if (bitmap) bitmap.close();
      bitmap = picture;
      stamp = of;
      if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
      if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
      canvas.dataset.stamp = of.join('.');
    }
    draw();
    if (picture) canvas.dispatchEvent(new CustomEvent('drawn', { detail: of }));
    say();
  }

  function say() {
    if (socket.readyState === WebSocket.OPEN) socket.send(kind);
  }

  // Which pictures are wanted: live, or examined, about which perception can be asked.
  canvas.want = (wanted) => {
    if (kind === wanted) return;
    kind = wanted;
    if (kind === 'examined') {
      stamp = null; // nothing to point at until one has come
      delete canvas.dataset.stamp;
    }
    say();
  };

  function draw() {
    if (!bitmap) return;
    context.drawImage(bitmap, 0, 0);
    canvas.dataset.marks = JSON.stringify(layers);
    for (const [u, v] of layers.taught || []) dot(u, v, COLOURS.taught, 1.5);
    for (const [u, v, label] of layers.keypoints || []) {
      dot(u, v, COLOURS.keypoint, 3);
      write(label, u + 5, v - 4);
    }
    for (const [u0, v0, u1, v1, colour, label] of layers.lines || []) {
      stroke([[u0, v0], [u1, v1]], colour, 3);
      write(label, u1 + 4, v1);
    }
    for (const [u, v, label, sure] of layers.points || []) cross(u, v, sure, label);
    if (outline.length > 1) stroke(outline, COLOURS.taught, 2);
  }

  // The centre of pixel (0, 0) is half a pixel inside of the canvas.
  const at = (x) => x + 0.5;

  function stroke(corners, colour, width) {
    context.beginPath();
    corners.forEach(([u, v], i) => (i ? context.lineTo(at(u), at(v)) : context.moveTo(at(u), at(v))));
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }

  function dot(u, v, colour, radius) {
    context.beginPath();
    context.arc(at(u), at(v), radius, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
  }

  function cross(u, v, sure, label) {
    const arm = Math.max(6, canvas.width / 60);
    for (const [colour, width] of [['#000', 4], [sure ? COLOURS.sure : COLOURS.doubted, 2]]) {
      stroke([[u - arm, v], [u + arm, v]], colour, width);
      stroke([[u, v - arm], [u, v + arm]], colour, width);
    }
    write(label, u + arm / 2, v - arm / 2);
  }

  function write(text, u, v) {
    if (!text) return;
    context.font = `${Math.max(11, canvas.width / 48)}px sans-serif`;
    context.lineWidth = 3;
    context.strokeStyle = '#000';
    context.fillStyle = '#fff';
    context.strokeText(text, at(u), at(v));
    context.fillText(text, at(u), at(v));
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const inside = (x, size) => Math.min(Math.max(x * size, 0), size - 1e-6) - 0.5;
    return [
      inside((event.clientX - box.left) / box.width, canvas.width),
      inside((event.clientY - box.top) / box.height, canvas.height),
    ];
  }

  canvas.addEventListener('pointerdown', (event) => {
    if (!stamp || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pressed = { from: place(event), stamp };
    outline = [pressed.from];
    moves = 0;
    step = 1;
  });

  let pointer = null, told = 0, waiting = 0;
  function tell() {
    waiting = 0;
    told = performance.now();
    if (pointer) emitEvent(events.pointer, { uv: pointer, stamp });
  }

  canvas.addEventListener('pointermove', (event) => {
    if (!stamp) return;
    if (pressed) {
      moves += 1;
      if (moves % step === 0) outline.push(place(event));
      if (outline.length === MOST_CORNERS) {
        outline = outline.filter((_, i) => i % 2 === 0);
        step *= 2;
      }
      draw();
      return;
    }
    pointer = place(event);
    if (!waiting) waiting = setTimeout(tell, Math.max(0, told + POINTER_MS - performance.now()));
  });
  canvas.addEventListener('pointerleave', () => (pointer = null));

  function release(event) {
    if (!pressed) return;
    const { from, stamp: of } = pressed, to = place(event);
    const far = outline.some(([u, v]) => Math.hypot(u - from[0], v - from[1]) > CLICK_PX);
    if (event.type === 'pointerup') {
      if (far) emitEvent(events.outline, { corners: outline, stamp: of });
      else emitEvent(events.click, { uv: to, stamp: of });
    }
    pressed = null;
    outline = [];
    held.splice(0).forEach((act) => requestAnimationFrame(act));
  }
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  connect();
}
