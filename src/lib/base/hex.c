#include "hex.h"

char *hex_encode(const void *bytes, size_t len, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;

    for (size_t i = 0; i < len; i++) {
        *text++ = digits[from[i] >> 4];
        *text++ = digits[from[i] & 15];
    }
    return text;
}

bool hex_decode_lower(const char *text, void *ret_bytes, size_t len)
{
    uint8_t *to = ret_bytes;

    for (size_t i = 0; i < len; i++) {
        int high = hex_digit_lower(text[2 * i]), low = high < 0 ? -1 : hex_digit_lower(text[2 * i + 1]);

        if (low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool hex_read_u64_lower(const char text[16], uint64_t *ret_value)
{
    uint8_t bytes[8];
    uint64_t value = 0;

    if (!hex_decode_lower(text, bytes, sizeof(bytes)))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        value = value << 8 | bytes[i];
    *ret_value = value;
    return true;
}
