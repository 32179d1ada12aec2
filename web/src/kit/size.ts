/** Size of an element on the screen. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Returns a ref and the size, in CSS pixels, of its element, whose text has the size `em`; 0 before the first layout. */
export function useSize<E extends HTMLElement = HTMLDivElement>() {
  const ref = useRef<E>(null);
  const [size, setSize] = useState({ width: 0, height: 0, em: 16, font: "" });
  useLayoutEffect(() => {
    const element = ref.current!;
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element;
      const { fontSize, fontFamily } = getComputedStyle(element);
      const next = { width, height, em: parseFloat(fontSize), font: `600 ${fontSize} ${fontFamily}` };
      setSize((last) => (JSON.stringify(last) === JSON.stringify(next) ? last : next));
    };
    const observer = new ResizeObserver(measure); // the first time after the layout, which measuring here would force
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return { ref, ...size };
}

const measuring = document.createElement("canvas").getContext("2d")!;

export function textWidth(text: string, font: string): number {
  measuring.font = font;
  return measuring.measureText(text).width;
}
