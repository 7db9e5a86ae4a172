#pragma once

#include "hub/remote.h"
#include "hub/repository.h"

namespace primus::hub {

/// Brings every file of the listing into the repository's blobs, several at once, and fills in etags and sizes that the
/// listing lacks. Files that are there already cost nothing. Throws Error as `snapshot` does; what has come by then
/// stays.
void download(Listing& listing, const CachedRepository& cached, const RemoteRepository& remote,
              const Settings& settings);

}  // namespace primus::hub
