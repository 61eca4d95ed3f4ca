/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname http_status_series slipway_http_status_series
