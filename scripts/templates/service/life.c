@if calls

static const struct config_option options[] = {
    {.name = "@CALLEE_VARIABLE@", .value = CONFIG_REQUIRED, .help = "host:port of @CALLEE@", .check = @CLIENT@_check_target},
    {0},
};

static int start(struct svc *svc, void *state)
{
    struct app *app = state;
    const struct @CLIENT@_def def = {
        .name = "@CALLEE@",
        .target = config_string(svc_config(svc), "@CALLEE_VARIABLE@"),
        .metrics = svc_metrics(svc),
@if calls_http
        .workers = svc_workers(svc),
        .max_memory = svc_memory_part(svc, MEMORY_HTTP_OUTGOING),
        .whole = svc_memory_budget(svc),
@end
    };
    int r = @CLIENT@_open(&def, &app->@CALLEE_ID@);

    return r < 0 ? svc_fail(svc, "@CALLEE_VARIABLE@=%s: %s", def.target, err_text(r)) : 0;
}

static void stop(void *state)
{
    struct app *app = state;

    app->@CALLEE_ID@ = @CLIENT@_free(app->@CALLEE_ID@);
}
@end

int main(int argc, char **argv)
{
@if state
    struct app app = {0};
@end
    const struct svc_def def = {
        .name = "@NAME@",
        .summary = "@SUMMARY@",
@if state
        .state = &app,
@end
@if store
        .store = SVC_STORE(tables, TABLES, &app.store),
@end
@if calls
        .options = options,
@end
@if grpc
        .rpc = RPC_SERVICE(methods, @ID@_descriptors),
@end
@if http
        .routes = routes,
@end
@if calls
        .start = start,
        .stop = stop,
@end
    };

    return svc_main(argc, argv, &def);
}
