/* bench_progress: see bench_progress.h. */
#include "bench_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "bench_format.h"
#include "bench_memory.h"

#define SECOND_NSEC UINT64_C(1000000000)

enum counter_kind {
	KIND_GAUGE,
	KIND_COUNT
};

static const struct {
	const char *name;
	enum counter_kind kind;
} COUNTERS[BENCH_COUNTER_COUNT] = {
#define BENCH_COUNTER(symbol, name, kind, help) {name, KIND_##kind},
#include "bench_counter.def"
#undef BENCH_COUNTER
};

static const char *const PHASE_NAMES[] = {
	[BENCH_PHASE_WAIT] = "wait",
	[BENCH_PHASE_CONNECT] = "connect",
	[BENCH_PHASE_MEASURE] = "measure",
	[BENCH_PHASE_DRAIN] = "drain",
	[BENCH_PHASE_CLOSE] = "close",
};

int
bench_progress_init(struct bench_progress *progress, const struct bench_options *options,
	struct mg_error *reterr_error)
{
	*progress = (struct bench_progress){
		.options = options,
		.on_terminal = !options->quiet && isatty(STDERR_FILENO),
		.start_nsec = bench_clock_nsec(),
	};
	progress->last_nsec = progress->start_nsec;
	if (!options->csv_path)
		return 0;
	progress->csv = fopen(options->csv_path, "we");
	if (!progress->csv)
		return mg_error_set(
			reterr_error, -errno, "%s: %s", options->csv_path, strerror(errno));
	fputs("second,phase", progress->csv);
	for (unsigned i = 0; i < BENCH_COUNTER_COUNT; i++)
		fprintf(progress->csv, ",%s", COUNTERS[i].name);
	fputs(",available_bytes\n", progress->csv);
	return 0;
}

/* Gauges as they are, the others as what came in this second. */
static void
bench_progress_write_csv(
	struct bench_progress *progress, enum bench_phase phase, const struct bench_totals *totals)
{
	struct bench_memory memory;

	bench_memory_read(&memory);
	fprintf(progress->csv, "%" PRIu64 ",%s", progress->seconds, PHASE_NAMES[phase]);
	for (unsigned i = 0; i < BENCH_COUNTER_COUNT; i++) {
		uint64_t value = totals->counters[i];

		if (COUNTERS[i].kind == KIND_COUNT)
			value -= progress->last.counters[i];
		fprintf(progress->csv, ",%" PRIu64, value);
	}
	fprintf(progress->csv, ",%" PRIu64 "\n", memory.available_bytes);
	(void)fflush(progress->csv);
}

static double
bench_progress_rate(const struct bench_progress *progress, const struct bench_totals *totals,
	enum bench_counter counter, double seconds)
{
	return (double)(totals->counters[counter] - progress->last.counters[counter]) / seconds;
}

static void
bench_progress_show(struct bench_progress *progress, enum bench_phase phase,
	const struct bench_totals *totals, double seconds)
{
	const uint64_t *c = totals->counters;
	char up[BENCH_TEXT_MAX], all[BENCH_TEXT_MAX], rate[BENCH_TEXT_MAX];

	fprintf(stderr,
		"\r\033[K%4" PRIu64 " s  %-7s  up %s of %s  failed %" PRIu64 "  lost %" PRIu64,
		progress->seconds, PHASE_NAMES[phase], bench_format_count((double)c[BENCH_UP], up),
		bench_format_count(progress->options->connections, all), c[BENCH_FAILED],
		c[BENCH_LOST_EOF] + c[BENCH_LOST_RESET] + c[BENCH_LOST_OTHER]);
	if (phase == BENCH_PHASE_CONNECT)
		fprintf(stderr, "  %s connects/s",
			bench_format_count(
				bench_progress_rate(progress, totals, BENCH_CONNECTS, seconds),
				rate));
	else if (progress->options->workload == BENCH_WORKLOAD_ECHO)
		fprintf(stderr, "  %s echoes/s",
			bench_format_count(
				bench_progress_rate(progress, totals, BENCH_ECHOES, seconds),
				rate));
	else
		fprintf(stderr, "  %s arrivals/s",
			bench_format_count(
				bench_progress_rate(progress, totals, BENCH_ARRIVALS, seconds),
				rate));
	progress->line_is_open = true;
}

void
bench_progress_tick(struct bench_progress *progress, const struct bench_shared *shared)
{
	uint64_t now = bench_clock_nsec();
	enum bench_phase phase = bench_shared_phase(shared);
	struct bench_totals totals;
	double seconds;

	if (now - progress->start_nsec < (progress->seconds + 1) * SECOND_NSEC)
		return;
	seconds = (double)(now - progress->last_nsec) / 1e9;
	progress->seconds = (now - progress->start_nsec) / SECOND_NSEC;
	progress->last_nsec = now;
	bench_shared_sum(shared, &totals);
	if (progress->csv)
		bench_progress_write_csv(progress, phase, &totals);
	if (progress->on_terminal)
		bench_progress_show(progress, phase, &totals, seconds);
	progress->last = totals;
}

void
bench_progress_end_line(struct bench_progress *progress)
{
	if (progress->line_is_open)
		fputc('\n', stderr);
	progress->line_is_open = false;
}

int
bench_progress_done(struct bench_progress *progress, struct mg_error *reterr_error)
{
	FILE *csv = progress->csv;
	bool failed;

	bench_progress_end_line(progress);
	progress->csv = NULL;
	if (!csv)
		return 0;
	failed = ferror(csv);
	if (fclose(csv) != 0 || failed)
		return mg_error_set(
			reterr_error, -EIO, "%s could not be written", progress->options->csv_path);
	return 0;
}

/* By a rename, so that who waits for the file never finds it empty. */
static int
bench_progress_write_ready(const char *path, const char *text, struct mg_error *reterr_error)
{
	char fresh[4096];
	FILE *file;
	bool written;

	if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
		return mg_error_set(reterr_error, -ENAMETOOLONG, "%s: the name is too long", path);
	file = fopen(fresh, "we");
	if (!file)
		return mg_error_set(reterr_error, -errno, "%s: %s", fresh, strerror(errno));
	written = fputs(text, file) >= 0;
	if (fclose(file) != 0 || !written || rename(fresh, path) < 0)
		return mg_error_set(reterr_error, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int
bench_progress_ready(struct bench_progress *progress, const struct bench_totals *totals,
	double seconds, struct mg_error *reterr_error)
{
	uint64_t up = totals->counters[BENCH_UP], failed = totals->counters[BENCH_FAILED];
	char text[128], rate[BENCH_TEXT_MAX];

	bench_progress_end_line(progress);
	if (!progress->options->quiet)
		fprintf(stderr,
			"ready: up %" PRIu64 " failed %" PRIu64 " in %.3f s, %s connects/s\n", up,
			failed, seconds,
			bench_format_count(
				(double)totals->counters[BENCH_CONNECTS] / seconds, rate));
	if (!progress->options->ready_path)
		return 0;
	snprintf(text, sizeof(text), "up %" PRIu64 " failed %" PRIu64 "\n", up, failed);
	return bench_progress_write_ready(progress->options->ready_path, text, reterr_error);
}
