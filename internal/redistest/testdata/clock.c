// A shared library that moves the wall clock of the program it is loaded into (LD_PRELOAD) by the nanoseconds that lie, as one native 64-bit
// integer, at the start of the file $REDISTEST_CLOCK. The monotonic clock stays as it is. It allocates nothing, so it is safe before main.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t zero = 0;
static const volatile int64_t *offset = &zero;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("REDISTEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		_exit(70);
	void *p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		_exit(71);
	close(fd);
	offset = p;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
	long r = syscall(SYS_clock_gettime, id, ts);
	if (r != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return (int)r;
	const int64_t second = 1000000000;
	int64_t by = *offset, ns = ts->tv_nsec + by % second;
	ts->tv_sec += by / second;
	if (ns < 0) {
		ns += second;
		ts->tv_sec--;
	} else if (ns >= second) {
		ns -= second;
		ts->tv_sec++;
	}
	ts->tv_nsec = ns;
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	struct timespec ts;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
