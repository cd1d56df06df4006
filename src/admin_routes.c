/* admin_routes: see admin_routes.h. */
#include "admin_routes.h"

const struct admin_route ADMIN_ROUTES[COMMAND_COUNT] = {
	[COMMAND_HEALTH] = {admin_get_health, ""},
	[COMMAND_STATS] = {admin_get_stats, ""},
	[COMMAND_METRICS] = {admin_get_metrics, ""},
	[COMMAND_SOURCES] = {admin_get_sources, "limit"},
	[COMMAND_CONFIG] = {admin_get_config, ""},
	[COMMAND_TUNE] = {admin_get_tuning, ""},
	[COMMAND_LIST] = {admin_get_connections, "source listener worker limit after"},
	[COMMAND_SHOW] = {admin_get_connection, ""},
	[COMMAND_KILL] = {admin_delete_connection, ""},
	[COMMAND_KILL_SOURCE] = {admin_delete_connections, "source listener"},
	[COMMAND_UPSTREAMS] = {admin_get_upstreams, ""},
	[COMMAND_UPSTREAM_DISABLE] = {admin_post_upstreams_disable, ""},
	[COMMAND_UPSTREAM_ENABLE] = {admin_post_upstreams_enable, ""},
	[COMMAND_RELOAD] = {admin_post_reload, ""},
	[COMMAND_DRAIN] = {admin_post_drain, ""},
	[COMMAND_RESUME] = {admin_post_resume, ""},
	[COMMAND_UPGRADE] = {admin_post_upgrade, ""},
};

const struct admin_face ADMIN_FACE_ALL = {
	.access = COMMAND_ACCESS_WRITE,
	.requests = METRIC_ADMIN_REQUESTS,
	.clients = METRIC_ADMIN_CLIENTS,
};

const struct admin_face ADMIN_FACE_METRICS = {
	.access = COMMAND_ACCESS_PUBLIC,
	.requests = METRIC_METRICS_REQUESTS,
	.clients = METRIC_METRICS_CLIENTS,
};
