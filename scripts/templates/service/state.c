@if state

static int start(struct svc *svc, void *state)
{
    struct app *app = state;
@if calls_http
    const struct http_client_def def = {
        .name = "@CALLEE@",
        .target = config_string(svc_config(svc), "@CALLEE_VARIABLE@"),
        .metrics = svc_metrics(svc),
        .workers = svc_workers(svc),
    };
@end
@if calls_grpc
    const struct rpc_client_def def = {
        .name = "@CALLEE@",
        .target = config_string(svc_config(svc), "@CALLEE_VARIABLE@"),
        .metrics = svc_metrics(svc),
    };
@end
    int r;

@if calls
    r = @CLIENT@_open(&def, &app->@CALLEE_ID@);
    if (r < 0)
        return svc_fail(svc, "@CALLEE_VARIABLE@=%s: %s", def.target, err_text(r));
@end
@if store
    r = svc_store_open(svc, tables, TABLES, &app->store);
@end
    return r;
}

static void stop(void *state)
{
    struct app *app = state;

@if store
    app->store = store_close(app->store);
@end
@if calls
    app->@CALLEE_ID@ = @CLIENT@_free(app->@CALLEE_ID@);
@end
}
@end
@if store

static bool ready(void *state)
{
    const struct app *app = state;

    return app->store == NULL || store_ready(app->store) == 0;
}

static bool healthy(void *state)
{
    const struct app *app = state;

    return app->store == NULL || store_health(app->store) == 0;
}
@end
