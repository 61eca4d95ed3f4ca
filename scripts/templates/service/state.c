@if calls

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
    int r = @CLIENT@_open(&def, &app->@CALLEE_ID@);

    return r < 0 ? svc_fail(svc, "@CALLEE_VARIABLE@=%s: %s", def.target, err_text(r)) : 0;
}

static void stop(void *state)
{
    struct app *app = state;

    app->@CALLEE_ID@ = @CLIENT@_free(app->@CALLEE_ID@);
}
@end
