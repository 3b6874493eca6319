def export(context, file):
    raise NotImplementedError


def import_into(context, file, keep_audio):
    raise NotImplementedError
