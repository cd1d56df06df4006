#ifndef MILLGATE_UPSTREAM_WATCH_H
#define MILLGATE_UPSTREAM_WATCH_H
struct upstream_watch {
	int x;
};
#endif
