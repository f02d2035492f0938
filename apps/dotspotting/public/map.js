import * as maplibregl from "/assets/maplibre-gl.mjs";
import { addCounties, basemapStyle, dotLayers } from "/assets/map-style.js";

/** Clusters are told apart up to this zoom; from the next on every dot is drawn. */
const clusterZoomMax = 11;
/** Dots more than this are clustered; fewer are drawn as they are. */
const unclusteredMax = 400;

for (const box of document.querySelectorAll(".map")) void showMap(box).catch((error) => apologise(box, error));

/** @param {HTMLElement} box */
async function showMap(box) {
  const { dots, bounds, point } = box.dataset;
  const data = point ? pointData(point) : dots ? await loadDots(dots) : emptyData();
  box.replaceChildren();
  const map = new maplibregl.Map({
    container: box,
    style: basemapStyle(),
    ...view(bounds ? bounds.split(",").map(Number) : boundsOf(data.features)),
    maxZoom: 16,
    renderWorldCopies: true,
    attributionControl: false,
    fadeDuration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 300,
    dragRotate: false,
    pitchWithRotate: false,
    cooperativeGestures: matchMedia("(pointer: coarse)").matches,
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 90 }), "bottom-left");
  map.on("load", () => {
    addDots(map, data);
    loadCounties(map);
  });
  map.on("idle", () => reportDrawn(box, map));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    map.setStyle(basemapStyle(), { diff: false });
    map.once("style.load", () => {
      addDots(map, data);
      loadCounties(map);
    });
  });
  if (!point) answerClicks(map);
}

/** @param {string} address */
async function loadDots(address) {
  const response = await fetch(address, { headers: { Accept: "application/geo+json" } });
  if (!response.ok) throw new Error(`The dots could not be loaded (${response.status}).`);
  return response.json();
}

function emptyData() {
  return { type: "FeatureCollection", features: [] };
}

/** @param {string} point */
function pointData(point) {
  const geometry = { type: "Point", coordinates: point.split(",").map(Number) };
  return { type: "FeatureCollection", features: [{ type: "Feature", properties: {}, geometry }] };
}

/** @param {{ geometry: { coordinates: number[] } }[]} features */
function boundsOf(features) {
  let [west, south, east, north] = [180, 90, -180, -90];
  for (const { geometry } of features) {
    const [longitude, latitude] = geometry.coordinates;
    west = Math.min(west, longitude);
    east = Math.max(east, longitude);
    south = Math.min(south, latitude);
    north = Math.max(north, latitude);
  }
  return features.length > 0 ? [west, south, east, north] : undefined;
}

/** @param {number[] | undefined} bounds */
function view(bounds) {
  if (!bounds) return { center: [0, 20], zoom: 0.6 };
  const [west, south, east, north] = bounds;
  if (east - west < 0.0001 && north - south < 0.0001) return { center: [west, south], zoom: 6 };
  const flat = (latitude) => Math.max(-75, Math.min(80, latitude));
  return { bounds: [[west, flat(south)], [east, flat(north)]], fitBoundsOptions: { padding: 40, maxZoom: 11 } };
}

function addDots(map, data) {
  const cluster = data.features.length > unclusteredMax;
  map.addSource("dots", { type: "geojson", data, cluster, clusterRadius: 42, clusterMaxZoom: clusterZoomMax });
  for (const layer of dotLayers()) map.addLayer(layer);
}

/** The counties are a larger file: they are fetched when somebody is near enough to see them. */
function loadCounties(map) {
  const look = () => {
    const { lng, lat } = map.getCenter();
    if (map.getZoom() < 5 || lng > -60 || lat < 15 || lat > 72) return;
    map.off("moveend", look);
    addCounties(map, "clusters");
  };
  map.on("moveend", look);
  look();
}

function answerClicks(map) {
  map.on("click", "clusters", async ({ features }) => {
    const [cluster] = features;
    const zoom = await map.getSource("dots").getClusterExpansionZoom(cluster.properties.cluster_id);
    map.easeTo({ center: cluster.geometry.coordinates, zoom: zoom + 0.2 });
  });
  map.on("click", "dots", ({ features, lngLat }) => {
    const [dot] = features;
    const [longitude, latitude] = dot.geometry.coordinates;
    // A world copy east or west of the first has the dot too: the popup opens at the one that was clicked.
    const turned = longitude + Math.round((lngLat.lng - longitude) / 360) * 360;
    new maplibregl.Popup({ maxWidth: "18rem", offset: 8 })
      .setLngLat([turned, latitude])
      .setDOMContent(popup(dot.properties, longitude, latitude))
      .addTo(map);
  });
  for (const layer of ["clusters", "dots"]) {
    map.on("mouseenter", layer, () => (map.getCanvas().style.cursor = "pointer"));
    map.on("mouseleave", layer, () => (map.getCanvas().style.cursor = ""));
  }
}

function popup({ id, label }, longitude, latitude) {
  const content = document.createElement("div");
  const name = document.createElement("strong");
  name.textContent = label || "Unnamed dot";
  const place = document.createElement("span");
  place.textContent = `${latitude.toFixed(5)}, ${longitude.toFixed(5)} `;
  const link = document.createElement("a");
  link.href = `/d/${id}`;
  link.textContent = "More";
  content.append(name, place, link);
  return content;
}

/** Says on the page what is drawn, so that a test (or a person with a console) can see it: dots in sight, and circles they make. */
function reportDrawn(box, map) {
  if (!map.getLayer("dots")) return;
  const drawn = new Map();
  for (const feature of map.queryRenderedFeatures({ layers: ["clusters", "dots"] })) {
    const { cluster_id: cluster, id, point_count: count = 1 } = feature.properties;
    drawn.set(cluster === undefined ? `dot ${id}` : `cluster ${cluster}`, count);
  }
  let dots = 0;
  for (const count of drawn.values()) dots += count;
  box.dataset.dotsDrawn = String(dots);
  box.dataset.circlesDrawn = String(drawn.size);
}

function apologise(box, error) {
  console.error(error);
  const note = document.createElement("p");
  note.className = "map-note";
  note.textContent = "The map cannot be shown here; it needs WebGL. The table has all the dots.";
  box.replaceChildren(note);
}
