/*
 * admin_routes: what the admin interface answers, by the rows of commands.def.
 *
 * Process: S. The handlers' context is the struct supervisor.
 */
#ifndef MILLGATE_ADMIN_ROUTES_H
#define MILLGATE_ADMIN_ROUTES_H

#include <stdio.h>

#include "admin.h"

struct supervisor;

extern const struct admin_route ADMIN_ROUTES[COMMAND_COUNT];

/* The admin socket, and the metrics socket. */
extern const struct admin_face ADMIN_FACE_ALL, ADMIN_FACE_METRICS;

/* admin_views.c */
void admin_get_health(void *context, struct admin_request *request);
void admin_get_stats(void *context, struct admin_request *request);
void admin_get_metrics(void *context, struct admin_request *request);
void admin_get_sources(void *context, struct admin_request *request);
void admin_get_config(void *context, struct admin_request *request);
void admin_get_tuning(void *context, struct admin_request *request);

/* "# HELP ..." and "# TYPE ..." of millgate_PREFIXNAME. */
void admin_print_family(FILE *out, const char *prefix, const struct metric_info *info);

/* admin_upstreams.c */
void admin_get_upstreams(void *context, struct admin_request *request);
void admin_post_upstreams_disable(void *context, struct admin_request *request);
void admin_post_upstreams_enable(void *context, struct admin_request *request);
/* The list of /stats and /upstreams; and the part of /metrics. */
json_t *admin_json_upstreams(const struct supervisor *supervisor);
void admin_print_upstreams(FILE *out, const struct supervisor *supervisor);

/* admin_connections.c */
void admin_get_connections(void *context, struct admin_request *request);
void admin_get_connection(void *context, struct admin_request *request);
void admin_delete_connections(void *context, struct admin_request *request);
void admin_delete_connection(void *context, struct admin_request *request);

/* admin_actions.c */
void admin_post_reload(void *context, struct admin_request *request);
void admin_post_drain(void *context, struct admin_request *request);
void admin_post_resume(void *context, struct admin_request *request);
void admin_post_upgrade(void *context, struct admin_request *request);

#endif
