#include "crash.h"
#include "buf.h"
#include "clock.h"
#include "hex.h"
#include "log_line.h"
#include "log_stderr.h"
#include "thread.h"
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define LINE_SIZE    4096 /* PIPE_BUF */
#define MAX_FRAMES   64
#define MAX_MODULES  64
#define MAX_NAME     48
#define MAX_BUILD_ID 32
#define MAX_WORDS    256
#define FLUSH_NS     (50 * CLOCK_NS_PER_MS) /* for the log's thread, which writes within 5 ms if it can */

/* A handler may call nothing that takes a lock or memory: what it needs is collected before. */
static struct {
    int fd;
    char tail[512]; /* of the line: labels and serviceContext */
    char build_id[2 * MAX_BUILD_ID + 1];
    struct module {
        uintptr_t base, begin, end;
        char name[MAX_NAME];
    } modules[MAX_MODULES];
    size_t module_count;
    struct sigaction before[NSIG];
    atomic_flag reporting;
} crash = {.reporting = ATOMIC_FLAG_INIT};

static const struct {
    int number;
    const char *name;
    bool has_address;
} signals[] = {
    {SIGSEGV, "SIGSEGV", true}, {SIGBUS, "SIGBUS", true},    {SIGFPE, "SIGFPE", false},
    {SIGILL, "SIGILL", false},  {SIGABRT, "SIGABRT", false},
};

/* ---- what is collected ---- */

static void copy_name(char to[MAX_NAME], const char *path)
{
    const char *slash = strrchr(path, '/');

    strncpy(to, slash != NULL ? slash + 1 : path, MAX_NAME - 1);
}

static void take_build_id(const struct dl_phdr_info *info, const ElfW(Phdr) * header)
{
    const char *at = (const char *)(info->dlpi_addr + header->p_vaddr), *end = at + header->p_memsz;

    while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        const char *name = at + sizeof(*note), *desc = name + (note->n_namesz + 3) / 4 * 4;

        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(name, "GNU", 4) == 0 &&
            note->n_descsz <= MAX_BUILD_ID) {
            hex_encode(desc, note->n_descsz, crash.build_id);
            crash.build_id[2 * note->n_descsz] = '\0';
        }
        at = desc + (note->n_descsz + 3) / 4 * 4;
    }
}

/* The first is the program itself. */
static int take_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct module *module = &crash.modules[crash.module_count];

    if (crash.module_count == MAX_MODULES)
        return 1;
    *module = (struct module){.base = info->dlpi_addr, .begin = UINTPTR_MAX};
    copy_name(module->name, crash.module_count == 0 ? arg : info->dlpi_name);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;

        if (header->p_type == PT_NOTE && crash.module_count == 0)
            take_build_id(info, header);
        if (header->p_type != PT_LOAD || (header->p_flags & PF_X) == 0)
            continue;
        module->begin = begin < module->begin ? begin : module->begin;
        module->end = begin + header->p_memsz > module->end ? begin + header->p_memsz : module->end;
    }
    crash.module_count++;
    return 0;
}

static void make_tail(const char *service)
{
    struct buf tail = {.data = crash.tail, .capacity = sizeof(crash.tail), .max = sizeof(crash.tail)};

    buf_append_cstr(&tail, "]},");
    log_line_append_service(&tail, service);
    buf_append_char(&tail, '\0');
    if (tail.failed)
        strcpy(crash.tail, "]}}\n");
}

/* ---- the line ---- */

static uintptr_t interrupted_at(const void *context)
{
    const ucontext_t *state = context;

#if defined(__x86_64__)
    return (uintptr_t)state->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)state->uc_mcontext.pc;
#else
    return 0;
#endif
}

static void append_hex(struct buf *out, uint64_t number)
{
    char digits[16];
    size_t count = 0;

    do
        digits[count++] = "0123456789abcdef"[number % 16];
    while ((number /= 16) > 0);
    buf_append_cstr(out, "0x");
    while (count > 0)
        buf_append_char(out, digits[--count]);
}

static void append_frame(struct buf *out, uintptr_t address)
{
    const struct module *module = NULL;

    for (size_t i = 0; i < crash.module_count && module == NULL; i++)
        if (address >= crash.modules[i].begin && address < crash.modules[i].end)
            module = &crash.modules[i];
    buf_append_char(out, '"');
    if (module != NULL) {
        buf_append_cstr(out, module->name);
        buf_append_char(out, '+');
    }
    append_hex(out, address - (module != NULL ? module->base : 0));
    buf_append_char(out, '"');
}

/* Those of the handler itself come first, up to where the signal interrupted. */
static void append_frames(struct buf *out, uintptr_t interrupted)
{
    void *frames[MAX_FRAMES];
    int count = backtrace(frames, MAX_FRAMES), first = 0;

    while (first < count && (uintptr_t)frames[first] != interrupted)
        first++;
    append_frame(out, interrupted);
    for (int i = first + 1; i < count && out->len < LINE_SIZE - sizeof(crash.tail) - 2 * MAX_NAME; i++) {
        buf_append_char(out, ',');
        append_frame(out, (uintptr_t)frames[i]);
    }
}

static void append_thread(struct buf *out)
{
    char name[17] = "";

    prctl(PR_GET_NAME, name);
    buf_append_cstr(out, ",\"thread\":");
    buf_append_json_string(out, str_of(name));
    buf_append_cstr(out, ",\"tid\":");
    buf_append_u64(out, (uint64_t)syscall(SYS_gettid));
}

/* Of an assertion, for example; enough of it to leave room for frames. */
static void append_last_words(struct buf *out, int number)
{
    struct str said = number == SIGABRT ? log_stderr_last() : STR_NULL;

    if (said.len == 0)
        return;
    buf_append_cstr(out, ",\"stderr\":");
    buf_append_json_string(out, said.len <= MAX_WORDS ? said : (struct str){said.s + said.len - MAX_WORDS, MAX_WORDS});
}

static void write_report(int number, const char *name, const siginfo_t *info, bool has_address, const void *context)
{
    char text[LINE_SIZE], time[CLOCK_RFC3339_SIZE];
    struct buf out = {.data = text, .capacity = sizeof(text), .max = sizeof(text)};

    buf_append_cstr(&out, "{\"severity\":\"CRITICAL\",\"time\":\"");
    buf_append_cstr(&out, clock_rfc3339(clock_realtime_ns(), 9, time));
    buf_append_cstr(&out, "\",\"message\":\"crashed: ");
    buf_append_cstr(&out, name);
    buf_append_cstr(&out, "\",\"crash\":{\"signal\":\"");
    buf_append_cstr(&out, name);
    if (has_address && info->si_code > 0) {
        buf_append_cstr(&out, "\",\"address\":\"");
        append_hex(&out, (uintptr_t)info->si_addr);
    }
    buf_append_char(&out, '"');
    append_thread(&out);
    append_last_words(&out, number);
    buf_append_cstr(&out, ",\"build_id\":\"");
    buf_append_cstr(&out, crash.build_id);
    buf_append_cstr(&out, "\",\"version\":\"" SLIPWAY_VERSION "\",\"frames\":[");
    append_frames(&out, interrupted_at(context));
    buf_append_cstr(&out, crash.tail);
    (void)!write(crash.fd, out.data, out.len);
}

/* Sends the signal again. The first process of a PID namespace, which a container's is, ignores it where there is no
 * handler, and exits instead. */
static void end_by(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + number);
}

/* The signal is blocked until this returns: one that the kernel raised comes again from the same instruction, any other
 * is sent again; both meet the action from before. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    int error = errno;
    size_t i = 0;

    while (signals[i].number != number)
        i++;
    if (!atomic_flag_test_and_set(&crash.reporting)) {
        nanosleep(&(struct timespec){0, (long)FLUSH_NS}, NULL);
        write_report(number, signals[i].name, info, signals[i].has_address, context);
    }
    sigaction(number, &crash.before[number], NULL);
    if (info->si_code <= 0)
        end_by(number);
    errno = error;
}

/* ---- */

void crash_report_to(int fd, const char *service)
{
    static char alternate[THREAD_SIGNAL_STACK];
    void *first[1];
    stack_t present;

    crash.fd = fd;
    dl_iterate_phdr(take_module, (void *)(uintptr_t)service);
    make_tail(service);
    backtrace(first, 1); /* loads the unwinder, which takes memory */
    sigaltstack(NULL, &present);
    if ((present.ss_flags & SS_DISABLE) != 0) /* a sanitizer has one, which it frees */
        sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof(alternate)}, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

        action.sa_sigaction = on_crash;
        sigemptyset(&action.sa_mask);
        sigaction(signals[i].number, &action, &crash.before[signals[i].number]);
    }
}

const char *crash_build_id(void)
{
    return crash.build_id;
}
