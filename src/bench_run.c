/* bench_run: see bench_run.h. */
#include "bench_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_client.h"
#include "bench_progress.h"

#define POLL_NSEC 10000000u
#define DRAIN_NSEC UINT64_C(5000000000) /* for answers still under way */
/* So that the server has accepted, or closed, what the clients have. */
#define SETTLE_NSEC UINT64_C(500000000)

struct bench_run {
	const struct bench_options *options;
	const struct bench_plan *plan;
	struct bench_shared *shared;
	struct bench_progress progress;
	struct bench_result *result;
	pid_t *children; /* 0: has ended */
	uint32_t n_children;
	sigset_t signals; /* blocked; taken by sigtimedwait() */
	unsigned n_interrupts;
	struct mg_error *reterr_error;
};

/* The child's half of fork(). */
static void __attribute__((noreturn))
bench_run_child(const struct bench_run *run, uint32_t process, pid_t parent)
{
	int status = 1;

	/* Interrupts from the terminal go to the whole group; the parent deals with them. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_DFL);
	(void)sigprocmask(SIG_UNBLOCK, &run->signals, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		status = bench_client_run(run->options, run->plan, run->shared, process);
	_exit(status);
}

static int
bench_run_fork(struct bench_run *run)
{
	pid_t parent = getpid();

	run->children = calloc(run->plan->processes, sizeof(*run->children));
	if (!run->children)
		return -ENOMEM;
	for (uint32_t i = 0; i < run->plan->processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return mg_error_set(run->reterr_error, -errno, "fork: %s", strerror(errno));
		if (pid == 0)
			bench_run_child(run, i, parent);
		run->children[run->n_children++] = pid;
	}
	return 0;
}

/* Takes note of those that have ended. -ECHILD when one did that should not have. */
static int
bench_run_reap(struct bench_run *run)
{
	bool closing = bench_shared_phase(run->shared) == BENCH_PHASE_CLOSE;

	for (uint32_t i = 0; i < run->n_children; i++) {
		int status;

		if (run->children[i] == 0 || waitpid(run->children[i], &status, WNOHANG) <= 0)
			continue;
		run->children[i] = 0;
		if (!closing || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			return mg_error_set(run->reterr_error, -ECHILD,
				"client process %u ended (status 0x%x)", i, (unsigned)status);
	}
	return 0;
}

static void
bench_run_kill(struct bench_run *run)
{
	for (uint32_t i = 0; i < run->n_children; i++) {
		if (run->children[i] == 0)
			continue;
		(void)kill(run->children[i], SIGKILL);
		(void)waitpid(run->children[i], NULL, 0);
		run->children[i] = 0;
	}
}

static int
bench_run_take_signal(struct bench_run *run, uint64_t wait_nsec)
{
	struct timespec timeout = {
		.tv_nsec = (long)(wait_nsec < POLL_NSEC ? wait_nsec : POLL_NSEC)};
	int signal_number = sigtimedwait(&run->signals, NULL, &timeout);

	if (signal_number == SIGINT || signal_number == SIGTERM) {
		if (++run->n_interrupts > 1)
			return mg_error_set(run->reterr_error, -EINTR, "interrupted");
	} else if (signal_number == SIGCHLD) {
		return bench_run_reap(run);
	}
	return 0;
}

/*
 * Waits until all clients are done with `phase` (0: for no phase), `nsec` have passed (BENCH_NEVER:
 * for ever), or, if `until_interrupt`, a first signal came. -errno when the run cannot go on.
 */
static int
bench_run_wait(struct bench_run *run, enum bench_phase phase, uint64_t nsec, bool until_interrupt)
{
	uint64_t start = bench_clock_nsec();

	for (;;) {
		uint64_t passed = bench_clock_nsec() - start;
		int r;

		if (passed >= nsec || (until_interrupt && run->n_interrupts > 0))
			return 0;
		if (phase && bench_shared_settled(run->shared, phase) == run->shared->n_slots)
			return 0;
		r = bench_run_take_signal(run, nsec - passed);
		if (r < 0)
			return r;
		bench_progress_tick(&run->progress, run->shared);
	}
}

static void
bench_run_look(const struct bench_run *run, struct bench_moment *ret_moment)
{
	*ret_moment = (struct bench_moment){0};
	bench_memory_read(&ret_moment->memory);
	if (run->options->pid)
		bench_memory_read_server(run->options->pid, &ret_moment->server);
}

static int
bench_run_connect(struct bench_run *run)
{
	struct bench_result *result = run->result;
	uint64_t start = bench_clock_nsec(), last = start;
	int r;

	bench_shared_set_phase(run->shared, BENCH_PHASE_CONNECT);
	r = bench_run_wait(run, BENCH_PHASE_CONNECT, BENCH_NEVER, true);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < run->shared->n_slots; i++)
		if (run->shared->slots[i].last_up_nsec > last)
			last = run->shared->slots[i].last_up_nsec;
	result->connect_seconds = (double)(last - start) / 1e9;
	bench_shared_sum(run->shared, &result->ready);
	if (run->n_interrupts > 0) {
		result->interrupted = true;
		return 0;
	}
	return bench_progress_ready(
		&run->progress, &result->ready, result->connect_seconds, run->reterr_error);
}

static void
bench_run_find_storm_end(struct bench_run *run)
{
	uint64_t last = run->shared->measure_start_nsec;

	if (run->options->workload != BENCH_WORKLOAD_STORM ||
		bench_shared_settled(run->shared, BENCH_PHASE_MEASURE) < run->shared->n_slots)
		return;
	for (uint32_t i = 0; i < run->shared->n_slots; i++)
		if (run->shared->slots[i].all_back_nsec > last)
			last = run->shared->slots[i].all_back_nsec;
	run->result->storm_ended = true;
	run->result->storm_seconds = (double)(last - run->shared->measure_start_nsec) / 1e9;
}

static int
bench_run_measure(struct bench_run *run)
{
	struct bench_result *result = run->result;
	const struct bench_options *options = run->options;
	bool storm = options->workload == BENCH_WORKLOAD_STORM;
	uint64_t duration = options->hold ? BENCH_NEVER : options->duration_usec * 1000;
	uint64_t start;
	double cpu = options->pid ? bench_memory_read_cpu(options->pid) : 0;
	int r;

	bench_shared_sum(run->shared, &result->start);
	start = run->shared->measure_start_nsec = bench_clock_nsec();
	bench_shared_set_phase(run->shared, BENCH_PHASE_MEASURE);
	r = bench_run_wait(run, storm ? BENCH_PHASE_MEASURE : 0, duration, true);
	if (r < 0)
		return r;
	bench_run_find_storm_end(run);
	bench_shared_sum(run->shared, &result->end);
	result->measured_seconds = (double)(bench_clock_nsec() - start) / 1e9;
	bench_shared_set_phase(run->shared, BENCH_PHASE_DRAIN);
	if (options->pid)
		result->server_cpu_seconds = bench_memory_read_cpu(options->pid) - cpu;
	return bench_run_wait(run, BENCH_PHASE_DRAIN, DRAIN_NSEC, false);
}

static int
bench_run_close(struct bench_run *run)
{
	int r;

	bench_shared_set_phase(run->shared, BENCH_PHASE_CLOSE);
	r = bench_run_wait(run, BENCH_PHASE_CLOSE, BENCH_NEVER, false);
	if (r < 0)
		return r;
	bench_shared_sum(run->shared, &run->result->closed);
	for (uint32_t i = 0; i < run->n_children; i++) {
		if (run->children[i] != 0)
			(void)waitpid(run->children[i], NULL, 0);
		run->children[i] = 0;
	}
	return run->options->pid ? bench_run_wait(run, 0, SETTLE_NSEC, true) : 0;
}

static int
bench_run_phases(struct bench_run *run)
{
	struct bench_result *result = run->result;
	uint64_t settle = run->options->pid ? SETTLE_NSEC : 0;
	int r;

	bench_run_look(run, &result->before);
	r = bench_run_fork(run);
	if (r == 0)
		r = bench_run_connect(run);
	if (r == 0)
		r = bench_run_wait(run, 0, settle, true);
	if (r < 0)
		return r;
	bench_run_look(run, &result->up);
	r = bench_run_measure(run);
	if (r < 0)
		return r;
	bench_run_look(run, &result->end_of_load);
	r = bench_run_close(run);
	bench_run_look(run, &result->after);
	return r;
}

static double
usage_seconds(int who)
{
	struct rusage usage;

	(void)getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void
bench_run_collect(struct bench_run *run)
{
	struct bench_result *result = run->result;

	for (uint32_t i = 0; i < run->shared->n_slots; i++) {
		const struct bench_slot *slot = &run->shared->slots[i];

		histogram_merge(&result->connect, &slot->connect);
		histogram_merge(&result->reconnect, &slot->reconnect);
		histogram_merge(&result->latency, &slot->latency);
		histogram_merge(&result->lag, &slot->lag);
		histogram_merge(&result->gap, &slot->gap);
		if (slot->silence_nsec > result->silence_nsec)
			result->silence_nsec = slot->silence_nsec;
	}
	bench_shared_sum_errors(run->shared, result->connect_errors);
	result->cpu_seconds = usage_seconds(RUSAGE_SELF) + usage_seconds(RUSAGE_CHILDREN);
}

int
bench_run(const struct bench_options *options, const struct bench_plan *plan,
	struct bench_result **ret_result, struct mg_error *reterr_error)
{
	struct bench_run run = {.options = options, .plan = plan, .reterr_error = reterr_error};
	int r;

	(void)sigemptyset(&run.signals);
	(void)sigaddset(&run.signals, SIGINT);
	(void)sigaddset(&run.signals, SIGTERM);
	(void)sigaddset(&run.signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &run.signals, NULL);
	run.result = calloc(1, sizeof(*run.result));
	run.shared = bench_shared_new(plan->processes);
	if (!run.result || !run.shared) {
		r = mg_error_set(reterr_error, -ENOMEM, "no memory for the clients' counters");
	} else {
		r = bench_progress_init(&run.progress, options, reterr_error);
		if (r == 0)
			r = bench_run_phases(&run);
		if (r == 0)
			bench_run_collect(&run);
		bench_run_kill(&run);
		/* An error before this one is the one to tell. */
		if (bench_progress_done(&run.progress, r == 0 ? reterr_error : NULL) < 0 && r == 0)
			r = -EIO;
	}
	bench_shared_free(run.shared);
	free(run.children);
	if (r < 0)
		free(run.result);
	else
		*ret_result = run.result;
	return r;
}

bool
bench_result_is_good(const struct bench_options *options, const struct bench_result *result,
	char problem[static BENCH_PROBLEM_MAX])
{
	const uint64_t *closed = result->closed.counters;
	uint64_t lost = bench_totals_lost(&result->end);

	if (closed[BENCH_ECHO_MISMATCHES] > 0)
		snprintf(problem, BENCH_PROBLEM_MAX,
			"on %" PRIu64 " connections other bytes came back than were sent",
			closed[BENCH_ECHO_MISMATCHES]);
	else if (result->interrupted)
		snprintf(problem, BENCH_PROBLEM_MAX, "interrupted before all were up");
	else if (options->allow_loss)
		return true;
	else if (closed[BENCH_FAILED] > 0)
		snprintf(problem, BENCH_PROBLEM_MAX, "%" PRIu64 " connections failed to connect",
			closed[BENCH_FAILED]);
	else if (lost > 0)
		snprintf(problem, BENCH_PROBLEM_MAX, "%" PRIu64 " connections were lost", lost);
	else if (closed[BENCH_ECHO_UNANSWERED] > 0)
		snprintf(problem, BENCH_PROBLEM_MAX, "%" PRIu64 " echoes never came back",
			closed[BENCH_ECHO_UNANSWERED]);
	else if (options->workload == BENCH_WORKLOAD_STORM && !result->storm_ended)
		snprintf(problem, BENCH_PROBLEM_MAX, "not all connections came back in time");
	else
		return true;
	return false;
}
