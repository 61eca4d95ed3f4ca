/* Messages that are valid, and that protobuf-c alone does not decode as the specification says. */
#include "reflection_v1.pb-c.h"
#include "routeguide.pb-c.h"
#include "rpc_core.h"
#include <criterion/criterion.h>
#include <errno.h>

#define BYTES(text_) ((struct str){"" text_, sizeof(text_) - 1})

static struct rpc_unpacked unpacked;

static int unpack(struct str bytes, const ProtobufCMessageDescriptor *type)
{
    return rpc_unpack_bytes(bytes, type, &unpacked);
}

static const Routeguide__Point *point_of(struct str bytes)
{
    cr_assert_eq(unpack(bytes, &routeguide__point__descriptor), 0);
    return (const Routeguide__Point *)unpacked.message;
}

static void release(void)
{
    rpc_unpacked_release(&unpacked);
}

TestSuite(rpc_unpack);

Test(rpc_unpack, merges_a_message_that_comes_in_parts)
{
    const Routeguide__Feature *feature;

    cr_assert_eq(unpack(BYTES("\x0a\x01m\x12\x02\x08\x05\x12\x02\x10\x06"), &routeguide__feature__descriptor), 0);
    feature = (const Routeguide__Feature *)unpacked.message;
    cr_assert_str_eq(feature->name, "m");
    cr_assert_eq(feature->location->latitude, 5);
    cr_assert_eq(feature->location->longitude, 6);
    release();
    /* The last part has the last word. */
    cr_assert_eq(unpack(BYTES("\x12\x04\x08\x05\x10\x07\x0a\x01m\x12\x02\x08\x06"), &routeguide__feature__descriptor),
                 0);
    feature = (const Routeguide__Feature *)unpacked.message;
    cr_assert_eq(feature->location->latitude, 6);
    cr_assert_eq(feature->location->longitude, 7);
    cr_assert_str_eq(feature->name, "m");
    release();
}

Test(rpc_unpack, skips_unknown_groups)
{
    cr_assert_eq(point_of(BYTES("\x08\x05\x7b\x08\x01\x7c\x10\x06"))->latitude, 5);
    cr_assert_eq(((const Routeguide__Point *)unpacked.message)->longitude, 6);
    release();
    cr_assert_eq(point_of(BYTES("\x7b\x83\x01\x12\x02zz\x84\x01\x15\1\2\3\4\x7c\x08\x05"))->latitude, 5);
    release();
    cr_assert_eq(unpack(BYTES("\x08\x05\x7b\x08\x01"), &routeguide__point__descriptor), -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x7b\x83\x01\x7c\x84\x01"), &routeguide__point__descriptor), -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x7c"), &routeguide__point__descriptor), -EBADMSG);
}

Test(rpc_unpack, bounds_the_depth_of_groups)
{
    char bytes[300];

    memset(bytes, 0x7b, 150);
    memset(bytes + 150, 0x7c, 150);
    cr_assert_eq(unpack((struct str){bytes, 300}, &routeguide__point__descriptor), -EBADMSG);
    cr_assert_eq(unpack((struct str){bytes + 51, 198}, &routeguide__point__descriptor), 0);
    release();
}

Test(rpc_unpack, skips_fields_of_another_wire_type)
{
    cr_assert_eq(point_of(BYTES("\x0d\x01\x00\x00\x00"))->latitude, 0);
    release();
    cr_assert_eq(point_of(BYTES("\x08\x05\x0a\x01x"))->latitude, 5);
    release();
    cr_assert_eq(unpack(BYTES("\x08\x05"), &routeguide__feature__descriptor), 0); /* the name as a number */
    cr_assert_str_eq(((const Routeguide__Feature *)unpacked.message)->name, "");
    release();
}

Test(rpc_unpack, finds_faults_in_what_it_writes_anew)
{
    cr_assert_eq(unpack(BYTES("\x7b\x7c\x0a\x02x\0"), &routeguide__feature__descriptor), -EILSEQ);
    cr_assert_eq(unpack(BYTES("\x7b\x7c\x0a\x05x"), &routeguide__feature__descriptor), -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x12\x01\x08\x12\x01\x05"), &routeguide__feature__descriptor), -EBADMSG,
                 "a part is a message of its own");
}

/* protobuf-c takes a field of number 0 where its tag is written in two bytes: what follows it must be checked, too. */
Test(rpc_unpack, refuses_what_is_no_field_before_a_string_with_a_nul)
{
    cr_assert_eq(unpack(BYTES("\x82\x00\x00"), &routeguide__feature__descriptor), -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x82\x00\x00\x0a\x03"
                              "a\0b"),
                        &routeguide__feature__descriptor),
                 -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x12\x03\x82\x00\x00"), &routeguide__feature__descriptor), -EBADMSG);
    cr_assert_eq(unpack(BYTES("\x0a\x03"
                              "a\0b"),
                        &routeguide__feature__descriptor),
                 -EILSEQ);
}

Test(rpc_unpack, keeps_the_last_field_of_a_oneof)
{
    typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
    const ProtobufCMessageDescriptor *type = &grpc__reflection__v1__server_reflection_request__descriptor;
    const Request *request;

    /* file_containing_extension is 5, a message; list_services is 7, a string. */
    cr_assert_eq(unpack(BYTES("\x2a\x03\x0a\x01t\x2a\x02\x10\x09"), type), 0);
    request = (const Request *)unpacked.message;
    cr_assert_str_eq(request->file_containing_extension->containing_type, "t");
    cr_assert_eq(request->file_containing_extension->extension_number, 9);
    release();
    cr_assert_eq(unpack(BYTES("\x2a\x03\x0a\x01t\x3a\x01x\x2a\x02\x10\x09"), type), 0);
    request = (const Request *)unpacked.message;
    cr_assert_str_eq(request->file_containing_extension->containing_type, "");
    cr_assert_eq(request->file_containing_extension->extension_number, 9);
    release();
    cr_assert_eq(unpack(BYTES("\x2a\x03\x0a\x01t\x2a\x02\x10\x09\x3a\x01x"), type), 0);
    request = (const Request *)unpacked.message;
    cr_assert_eq((int)request->message_request_case,
                 GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES);
    cr_assert_str_eq(request->list_services, "x");
    release();
}
