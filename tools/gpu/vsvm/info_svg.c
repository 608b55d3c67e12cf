// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-info: a picture of the address space
 *
 * From left to right in ascending order, in as many panels as it takes. What is of
 * interest, mappings with attributes or with pages on a device, has a box of its own,
 * wider for a larger one; the others are drawn together, and what lies between
 * is a narrow gap. Below are lanes: where data should be, what each instance may do,
 * and for each place how much of the memory above is there.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "info.h"

#define WIDTH		1200
#define MARGIN		130
#define PANEL		(WIDTH - MARGIN - 20)
#define GAP_WIDTH	30
#define QUIET_WIDTH	120
#define VMA_WIDTH	120
#define VMA_WIDTH_MAX	420
/* More for each interval of attributes in it. */
#define ATTR_WIDTH	70

#define VMA_HEIGHT	34
#define ATTR_HEIGHT	18
#define PLACE_HEIGHT	16
#define LANE_GAP	4

/* Mappings that are not further apart are drawn as neighbours. */
#define GAP_MIN		(1ULL << 20)

enum item_kind {
	ITEM_GAP,
	ITEM_QUIET,
	ITEM_VMA,
};

/* What has a place of its own on the axis: mappings @first to before @end. */
struct item {
	enum item_kind kind;
	unsigned int first, end;
	uint64_t bytes;
	double x, width;
};

struct svg {
	const struct info *info;
	FILE *file;
	struct item *items;
	unsigned int num_items;
	/* Instances of which something was said. */
	bool access[INFO_MAX_SLOTS];
	bool attrs;
};

static const char *place_colour(unsigned int place)
{
	static const char * const nodes[] = { "#8c9db5", "#5b6f8f", "#b0bccd", "#3e4f6b" };
	static const char * const devices[] = {
		"#2a9d5c", "#e08e0b", "#8e5bd0", "#d1495b", "#0e9aa7", "#a5790a", "#c154a0",
		"#4f7d2c",
	};

	if (place < INFO_MAX_NODES)
		return nodes[place % ARRAY_SIZE(nodes)];
	if (place == INFO_PLACE_SWAP)
		return "#444444";
	if (place == INFO_PLACE_OTHER)
		return "#c9c9c9";
	return devices[(place - INFO_MAX_NODES) % ARRAY_SIZE(devices)];
}

static const struct {
	const char *mode, *colour;
} modes[] = {
	{ "none", "#e4808a" }, { "eager", "#9fd6a6" }, { "in_place", "#9fd0dd" },
	{ "on_demand", "#dddddd" },
};

static const char *access_colour(const struct info_access *access)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(access->mode, modes[i].mode))
			return modes[i].colour;
	return access->read_only ? "#f3c98b" : "#d5c4ee";
}

static const char *location_colour(const struct info *info, const char *location)
{
	if (!strcmp(location, "system"))
		return place_colour(0);
	for (unsigned int i = 0; i < info->num_devices; i++)
		if (!strcmp(info->devices[i].name, location))
			return place_colour(INFO_PLACE_DEVICE(i));
	return "#ffffff";
}

static void text_escaped(FILE *file, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", file);
			break;
		case '<':
			fputs("&lt;", file);
			break;
		case '>':
			fputs("&gt;", file);
			break;
		default:
			/* Neither control characters nor what may be no UTF-8. */
			fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, file);
		}
	}
}

/* Text from @x on, shortened to @room; nothing where that is not enough for anything. */
static void draw_text(struct svg *svg, double x, double y, double room, double size,
		      const char *more, const char *format, ...)
	__attribute__((format(printf, 7, 8)));

static void draw_text(struct svg *svg, double x, double y, double room, double size,
		      const char *more, const char *format, ...)
{
	size_t fits = room / (size * 0.58);
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (strlen(text) > fits) {
		if (fits < 4)
			return;
		strcpy(text + (fits - 2 < sizeof(text) - 3 ? fits - 2 : sizeof(text) - 3), "..");
	}
	fprintf(svg->file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.0f\" %s>", x, y, size, more);
	text_escaped(svg->file, text);
	fputs("</text>\n", svg->file);
}

static void draw_box(struct svg *svg, double x, double y, double width, double height,
		     const char *fill, const char *more)
{
	fprintf(svg->file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" ", x, y, width);
	fprintf(svg->file, "height=\"%.1f\" fill=\"%s\" %s/>\n", height, fill, more);
}

/* -------------------------------------------------------------------- layout */

static bool vma_on_device(const struct info *info, const struct info_vma *vma)
{
	for (unsigned int i = 0; i < info->num_devices; i++)
		if (vma->bytes[INFO_PLACE_DEVICE(i)])
			return true;
	return false;
}

static unsigned int vma_attrs(const struct info *info, const struct info_vma *vma)
{
	unsigned int num = 0;

	for (unsigned int i = 0; i < info->num_managers; i++) {
		const struct info_manager *manager = &info->managers[i];

		for (unsigned int j = 0; j < manager->num_attrs; j++)
			num += manager->attrs[j].start < vma->end &&
			       manager->attrs[j].end > vma->start;
	}
	return num;
}

static void make_items(struct svg *svg)
{
	const struct info *info = svg->info;

	for (unsigned int i = 0; i < info->num_vmas; i++) {
		const struct info_vma *vma = &info->vmas[i];
		uint64_t gap = i ? vma->start - info->vmas[i - 1].end : 0;
		unsigned int attrs = vma_attrs(info, vma);
		bool interesting = attrs || vma_on_device(info, vma);
		struct item *item;

		if (gap >= GAP_MIN) {
			item = INFO_GROW(svg->items, svg->num_items);
			item->kind = ITEM_GAP;
			item->first = i;
			item->end = i;
			item->bytes = gap;
			item->width = GAP_WIDTH;
		}
		item = svg->num_items ? &svg->items[svg->num_items - 1] : NULL;
		if (interesting || !item || item->kind != ITEM_QUIET) {
			item = INFO_GROW(svg->items, svg->num_items);
			item->kind = interesting ? ITEM_VMA : ITEM_QUIET;
			item->first = i;
			item->width = interesting ? VMA_WIDTH : QUIET_WIDTH;
		}
		item->end = i + 1;
		item->bytes += vma->end - vma->start;
		for (uint64_t pages = (vma->end - vma->start) / info->page;
		     interesting && pages > 1 && item->width < VMA_WIDTH_MAX; pages /= 2)
			item->width += 18;
		item->width += attrs * ATTR_WIDTH;
		if (item->width > PANEL)
			item->width = PANEL;
	}
}

/* Where an address is, in an item that contains it. */
static double item_x(const struct svg *svg, const struct item *item, uint64_t addr)
{
	uint64_t before = 0;

	for (unsigned int i = item->first; i < item->end; i++) {
		const struct info_vma *vma = &svg->info->vmas[i];

		if (addr <= vma->start)
			break;
		before += (addr < vma->end ? addr : vma->end) - vma->start;
	}
	return item->x + item->width * before / item->bytes;
}

static uint64_t item_start(const struct svg *svg, const struct item *item)
{
	return svg->info->vmas[item->first].start;
}

static uint64_t item_end(const struct svg *svg, const struct item *item)
{
	return svg->info->vmas[item->end - 1].end;
}

/* As many items as there is room for, from @first on; they get their places. */
static unsigned int fill_panel(struct svg *svg, unsigned int first)
{
	double sum = 0, gaps = 0, x = MARGIN, scale;
	unsigned int end;

	for (end = first; end < svg->num_items; end++) {
		const struct item *item = &svg->items[end];

		if (end > first && sum + item->width > PANEL)
			break;
		sum += item->width;
		gaps += item->kind == ITEM_GAP ? item->width : 0;
	}
	/* Fill it, but do not blow up the few that are in the last one. */
	scale = sum > gaps ? (PANEL - gaps) / (sum - gaps) : 1;
	if (end == svg->num_items && scale > 1.5)
		scale = 1.5;
	for (unsigned int i = first; i < end; i++) {
		struct item *item = &svg->items[i];

		if (item->kind != ITEM_GAP)
			item->width *= scale;
		item->x = x;
		x += item->width;
	}
	return end;
}

/* --------------------------------------------------------------------- lanes */

static void draw_vmas(struct svg *svg, const struct item *item, double y)
{
	const struct info_vma *vma = &svg->info->vmas[item->first];
	unsigned int num = item->end - item->first;
	bool quiet = item->kind == ITEM_QUIET;
	const char *name = info_vma_name(vma);
	char size[32];

	draw_text(svg, item->x + 1, y - 3, item->width, 10,
		  "font-family=\"monospace\" fill=\"#555\"", "%" PRIx64, vma->start);
	draw_box(svg, item->x, y, item->width, VMA_HEIGHT, quiet ? "#f1f1ee" : "#fdf6d8",
		 "stroke=\"#777\" stroke-width=\"0.8\"");
	if (num == 1)
		draw_text(svg, item->x + 4, y + 14, item->width - 6, 12, "fill=\"#222\"", "%s",
			  name[0] ? name : "anonymous");
	else
		draw_text(svg, item->x + 4, y + 14, item->width - 6, 12, "fill=\"#555\"",
			  "%u others", num);
	info_size(item->bytes, size, sizeof(size));
	if (num == 1)
		draw_text(svg, item->x + 4, y + 28, item->width - 6, 11, "fill=\"#555\"", "%s %s",
			  size, vma->perms);
	else
		draw_text(svg, item->x + 4, y + 28, item->width - 6, 11, "fill=\"#555\"", "%s",
			  size);
}

static void draw_gap(struct svg *svg, const struct item *item, double y, double height)
{
	double x = item->x + item->width / 2;
	char size[32], more[96];

	draw_box(svg, item->x + 3, y, item->width - 6, height, "url(#gap)", "");
	snprintf(more, sizeof(more),
		 "fill=\"#555\" text-anchor=\"middle\" transform=\"rotate(-90 %.1f %.1f)\"", x + 4,
		 y + height / 2);
	info_size(item->bytes, size, sizeof(size));
	draw_text(svg, x + 4, y + height / 2, height, 11, more, "%s", size);
}

/* The part of an interval that is in an item; false: none. */
static bool clip(const struct svg *svg, const struct item *item, uint64_t start, uint64_t end,
		 double *x, double *width)
{
	if (end <= item_start(svg, item) || start >= item_end(svg, item))
		return false;
	*x = item_x(svg, item, start);
	*width = item_x(svg, item, end) - *x;
	if (*width < 1)
		*width = 1;
	return true;
}

static void draw_attr(struct svg *svg, const struct item *item, const struct info_attr *attr,
		      double y)
{
	bool dark = strcmp(attr->location, "default");
	const struct info *info = svg->info;
	double x, width;
	char text[160];

	if (!clip(svg, item, attr->start, attr->end, &x, &width))
		return;
	info_placement_text(attr, text, sizeof(text));
	if (text[0]) {
		draw_box(svg, x, y, width, ATTR_HEIGHT, location_colour(info, attr->location),
			 "stroke=\"#555\" stroke-width=\"0.8\"");
		draw_text(svg, x + 3, y + 13, width - 4, 11,
			  dark ? "fill=\"#fff\"" : "fill=\"#222\"", "%s", text);
	}
	y += ATTR_HEIGHT + LANE_GAP;
	for (unsigned int slot = 0; slot < INFO_MAX_SLOTS; slot++) {
		if (!svg->access[slot])
			continue;
		for (unsigned int i = 0; i < attr->num_access; i++) {
			if (attr->access[i].slot != slot)
				continue;
			draw_box(svg, x, y, width, ATTR_HEIGHT, access_colour(&attr->access[i]),
				 "stroke=\"#555\" stroke-width=\"0.8\"");
			draw_text(svg, x + 3, y + 13, width - 4, 11, "fill=\"#222\"", "%s",
				  info_access_text(&attr->access[i], text, sizeof(text)));
		}
		y += ATTR_HEIGHT + LANE_GAP;
	}
}

/* How much of each pixel's memory is at a place, in four steps. */
static void draw_place(struct svg *svg, const struct item *item, unsigned int place, double y)
{
	unsigned int columns = item->width, first = 0, shade = 0;
	double covered[WIDTH + 1] = { 0 };
	const struct info *info = svg->info;
	char more[48];

	for (unsigned int i = 0; i < info->num_runs; i++) {
		const struct info_run *run = &info->runs[i];
		double from, to;

		if (run->place != place || run->end <= item_start(svg, item) ||
		    run->start >= item_end(svg, item))
			continue;
		from = item_x(svg, item, run->start) - item->x;
		to = item_x(svg, item, run->end) - item->x;
		for (unsigned int c = from; c < columns && c < to; c++)
			covered[c] += (to < c + 1 ? to : c + 1) - (from > c ? from : c);
	}

	draw_box(svg, item->x, y, item->width, PLACE_HEIGHT, "#f7f7f7",
		 "stroke=\"#ddd\" stroke-width=\"0.5\"");
	for (unsigned int c = 0; c <= columns; c++) {
		unsigned int now = 0;

		/* Whatever is there at all is seen. */
		if (c < columns && covered[c] > 0)
			now = covered[c] > 0.99 ? 4 : 1 + (unsigned int)(covered[c] * 3);
		if (now == shade)
			continue;
		if (shade) {
			snprintf(more, sizeof(more), "fill-opacity=\"%.2f\"", 0.25 * shade);
			draw_box(svg, item->x + first, y, c - first, PLACE_HEIGHT,
				 place_colour(place), more);
		}
		first = c;
		shade = now;
	}
}

static void draw_label(struct svg *svg, double y, double height, const char *format, ...)
{
	char text[64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	draw_text(svg, MARGIN - 8, y + height / 2 + 4, MARGIN, 12,
		  "fill=\"#222\" text-anchor=\"end\"", "%s", text);
}

static double panel_height(const struct svg *svg)
{
	double height = VMA_HEIGHT + LANE_GAP;

	if (svg->attrs)
		height += ATTR_HEIGHT + LANE_GAP;
	for (unsigned int slot = 0; slot < INFO_MAX_SLOTS; slot++)
		height += svg->access[slot] ? ATTR_HEIGHT + LANE_GAP : 0;
	for (unsigned int place = 0; place < INFO_PLACES; place++)
		height += info_place_shown(svg->info, place) ? PLACE_HEIGHT + LANE_GAP : 0;
	return height;
}

static void draw_panel(struct svg *svg, unsigned int first, unsigned int end, double y)
{
	const struct info *info = svg->info;
	double top = y, lane;
	char name[64];

	draw_label(svg, y, VMA_HEIGHT, "mappings");
	lane = y + VMA_HEIGHT + LANE_GAP;
	if (svg->attrs) {
		draw_label(svg, lane, ATTR_HEIGHT, "should be");
		lane += ATTR_HEIGHT + LANE_GAP;
	}
	for (unsigned int slot = 0; slot < INFO_MAX_SLOTS; slot++) {
		if (!svg->access[slot])
			continue;
		snprintf(name, sizeof(name), "instance %u", slot);
		for (unsigned int i = 0; i < info->num_managers; i++)
			for (unsigned int j = 0; j < info->managers[i].num_instances; j++)
				if (info->managers[i].instances[j].slot == slot)
					snprintf(name, sizeof(name), "%u: %.50s may", slot,
						 info->managers[i].instances[j].device);
		draw_label(svg, lane, ATTR_HEIGHT, "%s", name);
		lane += ATTR_HEIGHT + LANE_GAP;
	}
	for (unsigned int place = 0; place < INFO_PLACES; place++) {
		if (!info_place_shown(info, place))
			continue;
		info_place_name(info, place, name, sizeof(name));
		draw_label(svg, lane, PLACE_HEIGHT, "is on %s", name);
		for (unsigned int i = first; i < end; i++)
			if (svg->items[i].kind != ITEM_GAP)
				draw_place(svg, &svg->items[i], place, lane);
		lane += PLACE_HEIGHT + LANE_GAP;
	}

	for (unsigned int i = first; i < end; i++) {
		const struct item *item = &svg->items[i];

		if (item->kind == ITEM_GAP) {
			draw_gap(svg, item, top, lane - top - LANE_GAP);
			continue;
		}
		draw_vmas(svg, item, y);
		for (unsigned int m = 0; m < info->num_managers; m++)
			for (unsigned int a = 0; a < info->managers[m].num_attrs; a++)
				draw_attr(svg, item, &info->managers[m].attrs[a],
					  y + VMA_HEIGHT + LANE_GAP);
	}
}

static double draw_key(struct svg *svg, double x, double y, const char *colour,
		       const char *text)
{
	draw_box(svg, x, y, 14, 12, colour, "stroke=\"#555\" stroke-width=\"0.8\"");
	draw_text(svg, x + 19, y + 10, WIDTH, 12, "fill=\"#222\"", "%s", text);
	return x + 19 + 7 * strlen(text) + 16;
}

static void draw_legend(struct svg *svg, double y)
{
	const struct info *info = svg->info;
	char name[64], size[32], text[128];
	double x = MARGIN;

	draw_label(svg, y, 12, "places");
	for (unsigned int place = 0; place < INFO_PLACES; place++) {
		if (!info_place_shown(info, place))
			continue;
		snprintf(text, sizeof(text), "%s: %s",
			 info_place_name(info, place, name, sizeof(name)),
			 info_size(info->total[place], size, sizeof(size)));
		if (x + 7 * strlen(text) > WIDTH - 40) {
			x = MARGIN;
			y += 20;
		}
		x = draw_key(svg, x, y, place_colour(place), text);
	}
	x = MARGIN;
	y += 22;
	draw_label(svg, y, 12, "access");
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		x = draw_key(svg, x, y, modes[i].colour, modes[i].mode);
	x = draw_key(svg, x, y, "#f3c98b", "read-only");
	draw_key(svg, x, y, "#d5c4ee", "atomics only");
	draw_text(svg, MARGIN, y + 38, WIDTH, 12, "fill=\"#555\"", "%s",
		  "Addresses grow from left to right, panel by panel; mappings are not to scale.");
	draw_text(svg, MARGIN, y + 54, WIDTH, 12, "fill=\"#555\"", "%s",
		  "Hatched: nothing is mapped. A pale bar: only a part of the memory is there.");
}

static void mark_access(struct svg *svg, const struct info_access *access)
{
	if (access->slot < INFO_MAX_SLOTS)
		svg->access[access->slot] = true;
}

static const char hatching[] =
	"<defs><pattern id=\"gap\" width=\"6\" height=\"6\"\n"
	" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\n"
	"<rect width=\"6\" height=\"6\" fill=\"#fff\"/>\n"
	"<line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" stroke=\"#ddd\" stroke-width=\"2\"/>\n"
	"</pattern></defs>\n";

int info_report_svg(const struct info *info, const char *path)
{
	struct svg svg = { .info = info };
	double height, panel, y = 64;
	unsigned int panels = 0;
	int ret = 0;

	svg.file = fopen(path, "we");
	if (!svg.file) {
		info_complain("%s: %s", path, strerror(errno));
		return -errno;
	}
	make_items(&svg);
	for (unsigned int i = 0; i < info->num_managers; i++) {
		const struct info_manager *manager = &info->managers[i];

		svg.attrs |= manager->num_attrs;
		for (unsigned int j = 0; j < manager->num_attrs; j++)
			for (unsigned int k = 0; k < manager->attrs[j].num_access; k++)
				mark_access(&svg, &manager->attrs[j].access[k]);
	}
	for (unsigned int i = 0; i < svg.num_items; panels++)
		i = fill_panel(&svg, i);
	panel = panel_height(&svg);
	height = y + panels * (panel + 34) + 110;

	fprintf(svg.file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\"", WIDTH);
	fprintf(svg.file, " height=\"%.0f\"\n", height);
	fprintf(svg.file, " viewBox=\"0 0 %d %.0f\" font-family=\"%s\">\n", WIDTH, height,
		"DejaVu Sans, sans-serif");
	fputs(hatching, svg.file);
	draw_box(&svg, 0, 0, WIDTH, height, "#ffffff", "");
	draw_text(&svg, 20, 30, WIDTH, 18, "fill=\"#222\" font-weight=\"bold\"",
		  "Address space of process %d (%s)", info->pid, info->comm);

	/* Places were given in widths that are final by now. */
	for (unsigned int first = 0, end; first < svg.num_items; first = end) {
		end = first + 1;
		while (end < svg.num_items && svg.items[end].x > svg.items[end - 1].x)
			end++;
		draw_panel(&svg, first, end, y);
		y += panel + 34;
	}
	draw_legend(&svg, y);
	fputs("</svg>\n", svg.file);

	if (ferror(svg.file))
		ret = -EIO;
	if (fclose(svg.file))
		ret = -errno;
	if (ret)
		info_complain("%s: %s", path, strerror(-ret));
	free(svg.items);
	return ret;
}
