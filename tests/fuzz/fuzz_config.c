/* Fuzz target: any text as a configuration. */
#include "master/config.h"

static void ignore(void *context, int level, const char *text)
{
    (void)context;
    (void)level;
    (void)text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct config_arguments arguments = {.port = size % 3 == 0 ? 1883 : 0};
    struct config *config =
        config_load_text("fuzz", (const char *)data, size, &arguments, ignore, NULL);
    struct config *same =
        config_load_text("fuzz", (const char *)data, size, &arguments, ignore, NULL);

    if (config != NULL) {
        char *differences = config_restart_differences(config, same);
        if (differences != NULL)
            __builtin_trap(); /* a configuration differs from itself */
        config_apply_live(config, same);
    }
    config_free(config);
    config_free(same);
    return 0;
}
