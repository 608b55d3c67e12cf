// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-preload: what memory the program has
 */

#include <string.h>
#include <unistd.h>

#include "preload.h"

/* Of very many mappings only the first are looked at. */
#define MAPS_LIMIT	(512 * 1024)

/* Reads one number, moves on; there are no signs and no spaces in front. */
static uint64_t hex(const char **at)
{
	uint64_t value = 0;

	for (;; (*at)++) {
		const char c = **at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (c - 'a' + 10);
		else
			return value;
	}
}

static bool ours(const struct preload *pl, const struct map *map)
{
	const uint64_t arena = vsvm_addr(pl->arena), window = vsvm_addr(pl->window);

	return (map->start < arena + ARENA_PAGES * pl->page && arena < map->end) ||
	       (map->start < window + WINDOW_PAGES * pl->page && window < map->end);
}

/*
 * One line. Heap and stack have places of their own, of all others each has the same
 * chance.
 */
static void line_take(struct preload *pl, const char *line, unsigned int *seen)
{
	struct map map = { 0 };
	const char *name;
	unsigned int place;

	map.start = hex(&line);
	if (*line++ != '-')
		return;
	map.end = hex(&line);
	if (*line++ != ' ' || line[0] != 'r')
		return;
	map.write = line[1] == 'w';
	name = strpbrk(line, "/[");
	/* Not what is mapped of devices, nor what the kernel shows of itself. */
	if (name && (!strncmp(name, "/dev/dri", 8) || !strncmp(name, "[v", 2)))
		return;
	map.anonymous = !name || name[0] == '[';
	if (map.start >= map.end || map.end > pl->gpus[0].dev.info.va_end || ours(pl, &map))
		return;
	if (map.write && map.anonymous &&
	    map.end - map.start > pl->largest.end - pl->largest.start)
		pl->largest = map;

	if (name && !strncmp(name, "[stack]", 7)) {
		place = 0;
	} else if (name && !strncmp(name, "[heap]", 6)) {
		place = 1;
	} else if (pl->num_maps < MAX_MAPS) {
		place = pl->num_maps++;
		(*seen)++;
	} else {
		place = 2 + preload_below(pl, ++*seen);
		if (place >= MAX_MAPS)
			return;
	}
	pl->maps[place] = map;
}

/* The descriptor is an old one: a new one would have a number that the program may want. */
void maps_refresh(struct preload *pl)
{
	static char buffer[4096];
	unsigned int seen = 0;
	size_t have = 0, total = 0;
	ssize_t got;

	memset(pl->maps, 0, sizeof(pl->maps));
	memset(&pl->largest, 0, sizeof(pl->largest));
	pl->num_maps = 2;
	if (pl->maps_file.fd < 0 || lseek(pl->maps_file.fd, 0, SEEK_SET))
		return;
	while (total < MAPS_LIMIT &&
	       (got = read(pl->maps_file.fd, buffer + have, sizeof(buffer) - 1 - have)) > 0) {
		char *line = buffer, *end;

		total += got;
		have += got;
		buffer[have] = '\0';
		while ((end = strchr(line, '\n'))) {
			*end = '\0';
			line_take(pl, line, &seen);
			line = end + 1;
		}
		have -= line - buffer;
		/* A name that fills the buffer is nothing to us. */
		if (have == sizeof(buffer) - 1)
			have = 0;
		memmove(buffer, line, have);
	}
}

const struct map *maps_pick(struct preload *pl)
{
	if (!pl->fresh) {
		maps_refresh(pl);
		pl->fresh = MAX_MAPS;
	}
	pl->fresh--;
	for (unsigned int i = 0; i < 8; i++) {
		const struct map *map = &pl->maps[preload_below(pl, pl->num_maps)];

		if (map->end)
			return map;
	}
	return NULL;
}
