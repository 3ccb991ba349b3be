// SPDX-License-Identifier: ISC
#include "api/api_json.h"

json_t *api_json_alarm(const struct api_alarm_view *alarm)
{
    return json_pack("{s:s, s:s, s:s}", "code", alarm->code, "text", alarm->text, "fix",
                     alarm->fix);
}

json_t *api_json_alarms(const struct api_alarm_view *alarms, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count && list != NULL; i++) {
        if (json_array_append_new(list, api_json_alarm(&alarms[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
