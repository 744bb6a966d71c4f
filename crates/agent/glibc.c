/* What the agent needs of glibc costs it 200 kB that no run ever reaches: translated messages with their conversion of
   character sets, and scanf with all its formats. These stand in for them, and are weak: where glibc's own come along for
   another reason they count. See scripts/build-agent. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STAND_IN __attribute__((weak))

/* Messages (strerror) stay English: dcgettext(3) without a catalogue. */
STAND_IN char *__dcgettext(const char *domain, const char *message, int category)
{
    (void)domain;
    (void)category;
    return (char *)message;
}

/* An assertion of glibc's own that fails ends the agent, without glibc's sentence about it. */
STAND_IN void __assert_fail(const char *expression, const char *file, unsigned int line, const char *function)
{
    (void)expression;
    (void)file;
    (void)line;
    (void)function;
    abort();
}

/* pthread_getattr_np(3) reads addresses from /proc/self/maps, and nothing else is scanned. */
STAND_IN int __isoc99_sscanf(const char *text, const char *format, ...)
{
    va_list values;
    char *end;
    unsigned long *from, *to;
    if (strcmp(format, "%lx-%lx") != 0)
        return -1;
    va_start(values, format);
    from = va_arg(values, unsigned long *);
    to = va_arg(values, unsigned long *);
    va_end(values);
    *from = strtoul(text, &end, 16);
    if (end == text || *end != '-')
        return 0;
    *to = strtoul(end + 1, NULL, 16);
    return 2;
}

/* Its name since glibc 2.38. */
int __isoc23_sscanf(const char *text, const char *format, ...) __attribute__((weak, alias("__isoc99_sscanf")));
