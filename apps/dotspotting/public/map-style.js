/**
 * What the map looks like: the basemap's layers, and the dots over them. Colours are those of the style sheet, so
 * that light and dark are decided in one place. No network and no glyph server: the letters are drawn from the page's own font.
 */

const font = ["Instrument Sans", "sans-serif"];

/** @param {string} name */
const basemap = (name) => ({ type: "geojson", data: new URL(`/basemap/${name}.geojson`, location.href).href });

/** The style sheet's colours, as they are now. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    sea: read("sea"),
    land: read("land"),
    border: read("border"),
    place: read("place"),
    accent: read("accent"),
    accentInk: read("accent-ink"),
    card: read("card"),
  };
}

/** The style without dots. */
export function basemapStyle() {
  const { sea, land, border, place } = colours();
  return {
    version: 8,
    sources: Object.fromEntries(["land", "coast", "borders", "states", "state-labels", "labels"].map((name) => [name, basemap(name)])),
    layers: [
      { id: "sea", type: "background", paint: { "background-color": sea } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": land } },
      { id: "coast", type: "line", source: "coast", paint: { "line-color": border, "line-width": 0.6 } },
      {
        id: "states",
        type: "line",
        source: "states",
        minzoom: 2.5,
        paint: { "line-color": border, "line-width": 0.7, "line-dasharray": [3, 2] },
      },
      { id: "borders", type: "line", source: "borders", paint: { "line-color": border, "line-width": 1 } },
      {
        id: "state-labels",
        type: "symbol",
        source: "state-labels",
        minzoom: 3.5,
        maxzoom: 7.5,
        layout: nameLayout(11.5, ["-", 0, ["get", "size"]]),
        paint: namePaint(place, land),
      },
      {
        id: "labels",
        type: "symbol",
        source: "labels",
        maxzoom: 7,
        // The smaller a country, the later its name comes: its size is the logarithm of its area on the sphere.
        filter: [">", ["get", "size"], ["-", -4.5, ["*", 1.6, ["zoom"]]]],
        layout: nameLayout(12, ["-", 0, ["get", "size"]]),
        paint: namePaint(place, land),
      },
    ],
  };
}

/**
 * The counties of the United States, for maps that are close enough to them.
 * @param {import("maplibre-gl").Map} map
 * @param {string} before
 */
export function addCounties(map, before) {
  if (map.getSource("counties")) return;
  const { border, place, land } = colours();
  map.addSource("counties", basemap("counties"));
  map.addSource("county-labels", basemap("county-labels"));
  map.addLayer(
    {
      id: "counties",
      type: "line",
      source: "counties",
      minzoom: 5,
      paint: { "line-color": border, "line-width": 0.6, "line-opacity": ["interpolate", ["linear"], ["zoom"], 5, 0, 6.5, 1] },
    },
    before,
  );
  map.addLayer(
    {
      id: "county-labels",
      type: "symbol",
      source: "county-labels",
      minzoom: 7.5,
      layout: nameLayout(11, ["-", 0, ["get", "size"]]),
      paint: namePaint(place, land),
    },
    before,
  );
}

/**
 * @param {number} size
 * @param {unknown} rank
 */
function nameLayout(size, rank) {
  return {
    "text-field": ["get", "name"],
    "text-font": font,
    "text-size": size,
    "text-max-width": 7,
    "text-padding": 6,
    "symbol-sort-key": rank,
  };
}

/**
 * @param {string} colour
 * @param {string} halo
 */
function namePaint(colour, halo) {
  return { "text-color": colour, "text-halo-color": halo, "text-halo-width": 1.2 };
}

/** The layers of the dots: clusters with their counts, and single dots. */
export function dotLayers() {
  const { accent, accentInk, card } = colours();
  return [
    {
      id: "clusters",
      type: "circle",
      source: "dots",
      filter: ["has", "point_count"],
      paint: {
        "circle-color": accent,
        "circle-opacity": 0.85,
        "circle-radius": ["interpolate", ["linear"], ["log10", ["get", "point_count"]], 0.3, 9, 1, 12, 2, 16, 3, 22, 4, 30],
        "circle-stroke-color": card,
        "circle-stroke-width": 1.5,
        "circle-stroke-opacity": 0.8,
      },
    },
    {
      id: "cluster-counts",
      type: "symbol",
      source: "dots",
      filter: ["has", "point_count"],
      layout: {
        "text-field": ["get", "point_count_abbreviated"],
        "text-font": font,
        "text-size": 11.5,
        "text-allow-overlap": true,
        "text-ignore-placement": true,
      },
      paint: { "text-color": accentInk },
    },
    {
      id: "dots",
      type: "circle",
      source: "dots",
      filter: ["!", ["has", "point_count"]],
      paint: {
        "circle-color": accent,
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 1, 3.5, 6, 5, 12, 8],
        "circle-stroke-color": card,
        "circle-stroke-width": 1.2,
      },
    },
  ];
}
