/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname field_check_string slipway_field_check_string
#pragma redefine_extname field_clear slipway_field_clear
#pragma redefine_extname fields_check slipway_fields_check
#pragma redefine_extname fields_find slipway_fields_find
#pragma redefine_extname fields_write_json slipway_fields_write_json
#pragma redefine_extname fields_write_names slipway_fields_write_names
#pragma redefine_extname record_check_key slipway_record_check_key
#pragma redefine_extname record_free slipway_record_free
#pragma redefine_extname record_get slipway_record_get
#pragma redefine_extname record_put slipway_record_put
#pragma redefine_extname record_unpack slipway_record_unpack
