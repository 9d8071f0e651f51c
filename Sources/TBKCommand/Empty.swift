import TBKCore
