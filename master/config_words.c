/* Texts that are more than any text: what a directive could never mean is an error at the start,
 * since the processes that use it later would only never match anything. */
#include "master/config_options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number up to max, of digits alone. */
static bool is_number(const char *text, unsigned long long max)
{
    enum { DIGITS_MAX = 10 };
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= DIGITS_MAX && text[digits] == '\0' &&
           strtoull(text, NULL, 10) <= max;
}

/* The bits of an address as the workers count them: an IPv4 address in IPv6 clothes is one of
 * IPv4. 0: it is no address. */
static unsigned address_bits(const char *text)
{
    struct in6_addr in6;
    struct in_addr in;

    if (inet_pton(AF_INET, text, &in) == 1)
        return 32;
    if (inet_pton(AF_INET6, text, &in6) != 1)
        return 0;
    return IN6_IS_ADDR_V4MAPPED(&in6) ? 32 : 128;
}

bool config_is_proxy(const char *word)
{
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(word, "/");

    if (strncmp(word, "uid:", 4) == 0)
        return is_number(word + 4, UINT32_MAX);
    if (len >= sizeof(host))
        return false;
    memcpy(host, word, len);
    host[len] = '\0';
    unsigned bits = address_bits(host);
    return bits > 0 && (word[len] == '\0' || is_number(word + len + 1, bits));
}

bool config_is_origin(const char *word)
{
    const char *host = strstr(word, "://");

    if (strcmp(word, "null") == 0 || strcmp(word, "file://") == 0)
        return true;
    if (host == NULL || host == word)
        return false;
    host += strlen("://");
    for (const char *at = word; *at != '\0'; at++) {
        if (isupper((unsigned char)*at))
            return false;
    }
    return *host != '\0' && strpbrk(host, "/*?#@") == NULL;
}

bool config_is_topic_prefix(const char *word)
{
    return strpbrk(word, "+#") == NULL;
}
