#include "rpc_fixture.h"

static struct fixture fixture;

static void open_fixture(void)
{
    fixture_open(&fixture);
}

static void close_fixture(void)
{
    fixture_close(&fixture);
}

TestSuite(rpc, .init = open_fixture, .fini = close_fixture, .timeout = 120);

Test(rpc, answers_a_unary_call)
{
    struct fixture_answer answer = fixture_call(&fixture, 100, 200, (struct rpc_call_options){0});

    cr_assert_eq(answer.code, ERR_GRPC_OK);
    cr_assert_str_eq(answer.name, "feature");
    free(answer.name);
}
